"""Supernets: their training, evolution over their paths, and training the winner alone."""
