"""A model behind HTTP: ``p2m serve``."""
