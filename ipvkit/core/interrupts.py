"""Signals that come before anything waits for them."""

EARLIER: list[int] = []
"""Signals that came before there was an inbox: what a handler raises can be lost in an import."""
