"""Looks inside one predictor: a trained model, or a whole run, to numbers; one file a probe."""
