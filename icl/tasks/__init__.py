"""Where prompts come from. Every task knows as many of its own answers as mathematics gives."""
