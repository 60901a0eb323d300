"""Figures of rows, long tables, and one page with everything."""
