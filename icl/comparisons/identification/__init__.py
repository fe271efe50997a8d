"""Which algorithm a model runs: candidates in their eigenbasis, fitted, judged, and told apart by shifted spectra."""
