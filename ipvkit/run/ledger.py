"""What a run has to undo: the steps that it has begun, and what takes each of them back."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.plan import resources
from ipvkit.plan.resources import Resource

_NETNS = Path("/run/netns")
"""Where ip-netns(8) keeps its names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step that has begun, and the `undo` that takes it back.

    `effect` is None only where the machine is not a real one. `former` is a sysctl's value before, `mark`
    the number by which the kernel knows what was made, None where that is not known. That the step has
    taken place is `certain` only to the run itself.
    """

    id: str
    purpose: str
    undo: Command
    effect: Resource | None = None
    former: str = ""
    mark: int | None = None
    certain: bool = False


class Ledger:
    """What a run has to undo, in the order in which it was begun; `kept` is whether it is to stay."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.entries: dict[str, Entry] = {}
        self.kept = False

    def begin(self, entries: Sequence[Entry]) -> None:
        """Take in what begins now, and so may have happened from now on."""
        self.entries |= {entry.id: entry for entry in entries}

    def end(self, done: Iterable[str], undone: Iterable[str]) -> None:
        """Take in that the steps `done` have happened, and that nothing is there of those `undone`."""
        for id in done:
            entry = self.entries[id]
            self.entries[id] = replace(entry, certain=True, mark=_mark_of(entry.effect))
        for id in undone:
            self.entries.pop(id, None)

    def keep(self) -> None:
        """Take in that all of it is to stay when the run has ended."""
        self.kept = True

    def read(self, record: Mapping[str, Any]) -> None:
        """Take in a record of a file; raise an error of its shape or UsageError where it is none."""
        match record:
            case {"begin": [*entries]}:
                self.entries |= {entry.id: entry for entry in map(read, entries)}
            case {"done": {**marks}, "undone": [*undone]}:
                for id in map(str, marks):
                    mark = record["done"][id]
                    self.entries[id] = replace(self.entries[id], mark=None if mark is None else int(mark))
                for id in undone:
                    del self.entries[id]
            case {"kept": True}:
                self.kept = True
            case _:
                raise UsageError("it is no record")


def _mark_of(effect: Resource | None) -> int | None:
    match effect:
        case resources.Netns(netns) | resources.Link(netns=str(netns)) | resources.Sysctl(netns=str(netns)):
            return mark_of_netns(netns)
        case resources.Link(name):
            with suppress(OSError):
                return socket.if_nametoindex(name)
    return None


def mark_of_netns(name: str) -> int | None:
    """Return when the namespace was made that a name means now, in ns; None where it means none.

    Inodes of namespaces are used again. A file that is not of the kernel's own file system for them is
    what is left of one whose mount has gone.
    """
    with suppress(OSError):
        found = (_NETNS / name).stat()
        return found.st_ctime_ns if found.st_dev != _NETNS.stat().st_dev else None
    return None


def written(entry: Entry) -> dict[str, Any]:
    """Return `entry` as JSON has it, with its undo as a person would type it."""
    if entry.effect is None:
        raise ValueError(f"{entry.id}: nobody could look for what it leaves")
    told = {"id": entry.id, "purpose": entry.purpose, "undo": str(entry.undo)}
    return {**told, "former": entry.former, **resources.written(entry.effect)}


def read(value: Mapping[str, Any]) -> Entry:
    """Return an entry; its command is made anew, since nothing that a file says is ever run."""
    effect = resources.read(value)
    former = str(value["former"])
    if isinstance(effect, resources.Sysctl) and not resources.is_number(former):
        raise UsageError(f"{former!r} is no value of {effect.key}")
    return Entry(str(value["id"]), str(value["purpose"]), undo_of(effect, former), effect, former)


def undo_of(effect: Resource, former: str) -> Command:
    """Return what takes `effect` back, with a sysctl's `former` value."""
    *words, last = effect.undo.argv
    return Command((*words, f"{last}{former}" if isinstance(effect, resources.Sysctl) else last))
