"""An export: what is asked, where the network comes from, and the copy put in place."""
