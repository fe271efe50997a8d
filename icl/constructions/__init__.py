"""Weights on paper: each function returns the state dict of a model that computes an algorithm exactly."""
