"""Predictors written down: estimators and iterations of the literature, with nothing to train."""
