"""Two predictors answer the same prompts; each module turns the answers into numbers a member and curves."""
