"""ipvkit shows what Linux ipvlan will really do: it predicts, runs on a real kernel, and compares."""

__version__ = "0.1.0"
