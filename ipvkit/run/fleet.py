"""The journals on the hosts of a fleet: what is recorded is there before what it records begins."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ipvkit.core.command import Command
from ipvkit.lab import HOST
from ipvkit.plan import resources
from ipvkit.plan.resources import Link, Resource
from ipvkit.run.journal import Entry, Journal
from ipvkit.targets.fleet import FleetHost

FOLDER = "/run/ipvkit"
"""Where root's journals are on a host."""

_REMOVE = 'rm -f -- "$2" "$2.round" && rmdir --ignore-fail-on-non-empty -- "$1"'


class FleetJournal(Journal):
    """What a run has to undo, in a journal on each host, by its machine's name; this one is in memory.

    `header` is written there. A line is on a host before the next commands run there.
    """

    def __init__(self, lab: str, hosts: Mapping[str, FleetHost], boot: str = "", netns: int = 0) -> None:
        """Begin with nothing; `boot` and `netns` are those of the only host, where its journal is read."""
        super().__init__(lab)
        self.hosts = hosts
        self._boot, self._netns = boot, netns

    @property
    def lasting(self) -> bool:
        """Whether it is not in memory alone."""
        return True

    @property
    def elsewhere(self) -> bool:
        """Whether its run was in another network namespace than that in which commands run there."""
        return not self.restarted and bool(self.header["netns"] != self._netns)

    def boot(self) -> str:
        """Return what identifies the time since the host has started."""
        return self._boot

    def mark_of_netns(self, name: str, on: str = HOST) -> int | None:
        """Return the mark of a namespace, as the last round has seen it."""
        return self.hosts[on].marks.get(f"netns/{name}")

    def mark_of(self, entry: Entry) -> int | None:
        """Return the mark of what `entry` has created, as the last round has seen it."""
        return self.hosts[entry.on].marks.get(_watched(entry.resource))

    def begin(self, entries: Sequence[Entry]) -> None:
        """Record what begins with the next commands."""
        super().begin(entries)
        self.watch(entries)

    def watch(self, entries: Sequence[Entry]) -> None:
        """Let each round look for the marks of `entries`."""
        for entry in entries:
            if watched := _watched(entry.resource):
                self.hosts[entry.on].watch([watched])

    def last_commands(self) -> dict[str, Command]:
        """Return the last command of each machine: it writes the rest, or removes an empty journal."""
        left = {entry.on for entry in self.entries.values()}
        path = f"{FOLDER}/{self.lab}.jsonl"
        remove = Command(("bash", "-c", _REMOVE, "-", FOLDER, path))
        keep = Command(("true",))
        return {name: keep if name in left else remove for name, host in self.hosts.items() if host.journaled}

    def _write(self, record: Mapping[str, Any], on: str, *, synced: bool = False) -> None:
        self.hosts[on].record(json.dumps(record), needed=synced)


def _watched(resource: Resource) -> str:
    if (netns := resources.netns_of(resource)) is not None:
        return f"netns/{netns}"
    return f"link/{resource.name}" if isinstance(resource, Link) else ""
