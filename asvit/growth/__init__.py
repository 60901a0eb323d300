"""Scalings: what they are asked to do, what they have measured, and what they ended in.

The growth itself is the package ``scaling``, which knows no architecture by name.
"""
