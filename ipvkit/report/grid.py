"""Tables, as tabulate draws them, and the words of a verdict."""

from collections.abc import Iterable, Sequence
from typing import Any


def grid(rows: Iterable[Iterable[object]], headers: Sequence[str], **options: Any) -> str:  # noqa: ANN401
    """Return a table in which every cell stands as it is; `options` are tabulate's."""
    # It takes long to load, and JSON needs none.
    from tabulate import tabulate

    return tabulate(rows, headers, disable_numparse=True, **options)


def prediction_word(held: bool | None) -> str:
    """Return whether a prediction held, in the words of every report."""
    return {True: "as predicted", False: "DIFFERS", None: "not run"}[held]
