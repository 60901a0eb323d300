"""Greedy growth of anything that can be built from depths and a width."""
