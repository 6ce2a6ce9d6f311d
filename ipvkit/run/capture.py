"""What a run has captured."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ipvkit.plan.steps import Capture
from ipvkit.targets.cables import CableFrame
from ipvkit.tools.pcap import Frame


@dataclass(frozen=True, slots=True)
class Captured:
    """The frames of a capture, how many others are missing, and when it ran, in microseconds since 1970."""

    of: Capture
    frames: tuple[Frame, ...]
    missing: int
    began_us: int
    ended_us: int


def on_cables(captured: Iterable[Captured], frames: Iterable[CableFrame]) -> Iterator[Captured]:
    """Yield those of `frames` that were on a cable while the checks of `captured` ran, for each cable."""
    by_cable: dict[tuple[str, str], list[Frame]] = {}
    for each in frames:
        by_cable.setdefault((each.host, each.dev), []).append(each.frame)
    spans = dict.fromkeys(
        (each.of.section, each.of.checks, each.began_us, each.ended_us) for each in captured
    )
    for section, checks, began, ended in spans:
        for (host, dev), own in by_cable.items():
            of = Capture(host, dev, "", section, checks)
            yield Captured(
                of, tuple(frame for frame in own if began <= frame.at_us <= ended), 0, began, ended
            )


def of_stage(captured: Iterable[Captured], servers: Collection[Capture]) -> tuple[Captured, ...]:
    """Return those of `captured` that ran together with `servers`."""
    found = tuple(captured)
    begun = {each.began_us for each in found if each.of in servers}
    return tuple(each for each in found if each.began_us in begun)
