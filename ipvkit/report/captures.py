"""What a run has captured, as files: a pcapng for each link, with the check of each frame as its comment."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ipvkit.core.errors import UsageError
from ipvkit.lab import SWITCH, Check, Lab
from ipvkit.report.files import refuse_unwritable, write
from ipvkit.run.capture import Captured
from ipvkit.run.engine import Run
from ipvkit.tools.pcap import Frame, pcapng

_MOST_CHECKS = 3
"""How many checks a comment names."""


def make_folder(folder: Path) -> None:
    """Create the folder for captures; raise UsageError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        what = f"the folder {str(folder)!r} cannot be created: {problem.strerror}"
        raise UsageError(what, "name a folder of yours") from None
    refuse_unwritable(_file(folder, SWITCH))


def write_all(run: Run, folder: Path) -> str:
    """Write what `run` has captured into `folder`; return a line about it."""
    by_role: dict[str, dict[str, list[Captured]]] = {}
    for each in run.captured:
        # What was on cables is in a separate file.
        if each.of.file:
            by_role.setdefault(each.of.role, {}).setdefault(each.of.dev, []).append(each)
    names = []
    for role, links in by_role.items():
        for dev, found in links.items():
            names.append(role if len(links) == 1 else f"{role}@{dev}")
            write(_file(folder, names[-1]), pcapng([dev], _at_link(run.plan.lab, found)))
    if run.cable_frames:
        names.append(SWITCH)
        write(_file(folder, SWITCH), _on_cables(run))
    missing = sum(each.missing for each in run.captured)
    lost = f"; frames that tcpdump lost: {missing}" if missing else ""
    return f"captured in {folder}: {', '.join(f'{name}.pcapng' for name in names) or 'nothing'}{lost}"


def _file(folder: Path, name: str) -> Path:
    # The names of nodes and links have no slash.
    return folder / f"{name}.pcapng"


def _at_link(lab: Lab, found: list[Captured]) -> Iterator[tuple[int, Frame, str]]:
    for each in found:
        comment = _comments(lab, each)
        yield from ((0, frame, comment(frame)) for frame in each.frames)


def _on_cables(run: Run) -> Iterator[bytes]:
    """Yield the file of what was on all cables; frames between the checks have no comment."""
    links = list(dict.fromkeys((each.host, each.dev) for each in run.cable_frames))
    spans = {(each.began_us, each.ended_us): _comments(run.plan.lab, each) for each in run.captured}

    def comment(frame: Frame) -> str:
        found = (of for (began, ended), of in spans.items() if began <= frame.at_us <= ended)
        return next((of(frame) for of in found), "")

    frames = ((links.index((e.host, e.dev)), e.frame, comment(e.frame)) for e in run.cable_frames)
    return pcapng([f"{host} {dev}" for host, dev in links], frames)


def _comments(lab: Lab, captured: Captured) -> Callable[[Frame], str]:
    """Return what names the check of a frame: of concurrent ones those that have most of its addresses."""
    checks = [probe.check for probe in captured.of.checks if isinstance(probe.check, Check)]
    ends = {
        check: [
            [own.packed for own in lab.addresses_of(role, lab.parent_of(check))]
            for role in (check.source, check.destination)
        ]
        for check in checks
    }

    def comment(frame: Frame) -> str:
        there = {
            check: sum(any(address in frame.data for address in own) for own in both)
            for check, both in ends.items()
        }
        most = max(there.values(), default=0)
        names = [str(check) for check, count in there.items() if count == most > 0]
        more = f" and {len(names) - _MOST_CHECKS} more" if len(names) > _MOST_CHECKS else ""
        return f"phase {captured.of.section}{': ' if names else ''}{'; '.join(names[:_MOST_CHECKS])}{more}"

    return comment
