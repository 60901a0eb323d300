"""Trained networks in use: classes of pictures, tests on labelled ones, architectures of runs."""
