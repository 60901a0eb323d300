"""A correlation: planned, measured, kept and put together."""
