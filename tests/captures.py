"""Captures of what tools printed, and what a person reads in them."""

import gc
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ipvkit.core.errors import UnparsableOutput

FIXTURES = Path(__file__).parent / "fixtures"

FRAMES = Path(__file__).parent / "frames"
"""Frames that tcpdump 4.99.5 captured on a uml kernel: NAME-NODE.pcap."""


def captures(prefix: str) -> list[Path]:
    """Return the captures whose names begin with `prefix`, of all implementations."""
    return sorted(FIXTURES.glob(f"*/{prefix}*.txt"))


def expected(prefix: str) -> list[tuple[Path, Any]]:
    """Return captures with what is to be read in each: an entry without a value is left out of it."""
    found = [(path, path.with_suffix(".json")) for path in captures(prefix)]
    return [(path, json.loads(answer.read_text("utf-8"))) for path, answer in found if answer.exists()]


def text_of(capture: Path) -> str:
    """Return a capture as it stands: a carriage return in it ends no line."""
    return capture.read_bytes().decode()


def short(capture: Path) -> str:
    """Return a name to tell a capture by."""
    return f"{capture.parent.name}/{capture.stem}"


def stripped(value: Any) -> Any:
    """Return a document without what says nothing: null, false, and whatever is empty."""
    if isinstance(value, dict):
        inner = {key: stripped(entry) for key, entry in value.items()}
        return {key: entry for key, entry in inner.items() if not _is_empty(entry)}
    return [stripped(entry) for entry in value] if isinstance(value, list) else value


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def assert_linear(parse: Callable[[str], object], output: str | Callable[[int], str]) -> None:
    """Check that eight times the output takes far less than the 64 times that a square of it would.

    `output` is a text with two bars, of which the part between is repeated, or makes a text of about so many
    characters.
    """

    def text(size: int) -> str:
        if callable(output):
            return output(size)
        before, part, behind = output.split("|")
        return before + part * (size // len(part)) + behind

    # The process's own time, which hardly depends on what else the machine does.
    short = min(_cpu_s(parse, text(_SIZE)) for _ in range(3))
    # A busy machine makes one of them slower now and then, a square each of them.
    longs: list[float] = []
    while not longs or (min(longs) >= 32 * short + 0.01 and len(longs) < 5):
        longs.append(_cpu_s(parse, text(8 * _SIZE)))
    assert min(longs) < 32 * short + 0.01, (short, longs)


_SIZE = 20_000


def _cpu_s(parse: Callable[[str], object], text: str) -> float:
    # The collector goes through all that the whole suite keeps, and only where the text is long.
    gc.disable()
    started = time.process_time()
    try:
        with suppress(UnparsableOutput):
            parse(text)
        return time.process_time() - started
    finally:
        gc.enable()
