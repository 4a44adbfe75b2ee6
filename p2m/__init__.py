"""p2m: the library under the agent. It knows tasks, data, models and scores; it does not know who decides."""

__version__ = "0.1.0"
