"""How jobs reach processors: the bank launcher for Hydra sweeps."""
