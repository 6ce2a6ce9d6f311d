"""ipvkit tells what Linux ipvlan will really do: predicted, run on a real kernel, compared."""

__version__ = "0.1.0"
