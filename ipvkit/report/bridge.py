"""The output of bridge, as a table and as JSON."""

from collections.abc import Sequence

from ipvkit.report.plain import Output, columns, not_understood, plain
from ipvkit.tools.bridge import FdbEntry


def _fdb(entries: Sequence[FdbEntry]) -> str:
    rows = [(e.lladdr, e.dev, e.vlan, e.dst, e.master, e.state, " ".join(e.flags)) for e in entries]
    table = columns(rows, ("lladdr", "dev", "vlan", "dst", "master", "state", "flags"), empty="no entries\n")
    return table + not_understood(line for entry in entries for line in entry.unrecognised)


FDB: Output[Sequence[FdbEntry]] = Output("fdb", _fdb, lambda found: {"entries": plain(found)})
