"""What a command does, from a validated configuration to a finished run folder: each `run(cfg) -> dict[str, float]`."""
