"""Exact values, as pure functions of numbers: Wishart spectra, optimal step sizes, population losses."""
