"""The signals that end ipvkit."""

import signal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

EARLIER: list[int] = []
"""Signals that came before there was an inbox: what a handler raises can be lost in an import."""


class Stopped(BaseException):
    """Such a signal has come; code that catches Exception does not catch this."""


def heeded() -> tuple[signal.Signals, ...]:
    """Return those that were not ignored when this process started, as nohup and a shell's ``&`` do."""
    return tuple(number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN)
