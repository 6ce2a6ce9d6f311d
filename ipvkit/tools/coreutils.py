"""coreutils' ``sleep``: sleep(1)."""

from ipvkit.core.command import Command


def sleep(seconds: int) -> Command:
    """Return the command that does nothing for `seconds`.

    >>> str(sleep(10))
    'sleep 10'
    """
    return Command(("sleep", str(seconds)))
