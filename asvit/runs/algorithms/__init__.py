"""The algorithms of the kinds of run; they import torch, Optuna and SciPy at their top.

Each is a subclass of the class that declares its kind, in the module of the same name above.
``design_*.py`` are parts of that of designs.
"""
