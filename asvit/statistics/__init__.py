"""Rank correlations, intervals and shares of variance: SciPy's, and what it lacks.

A number with its interval is an :class:`asvit.core.estimates.Estimate`. Own methods are those
whose coverage was simulated where the usual ones fall short: ``experiments.check_intervals``.
"""
