"""Supernets: settings, images, training path by path, and the file of weights."""
