"""A training: what is asked, its session, and its result."""
