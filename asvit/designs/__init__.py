"""Designs: what they are asked for, what their stages came to, and what they ended in."""
