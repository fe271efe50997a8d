"""What is minimised: callables (model, sample) -> one number a member. The trainer differentiates their sum."""
