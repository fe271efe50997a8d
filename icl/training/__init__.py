"""From a task, a model and an objective to trained weights: banks of small models at once, exact resume."""
