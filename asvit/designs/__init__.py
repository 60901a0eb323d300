"""Designs: settings, by what they decide, what their stages came to, and what they ended in."""
