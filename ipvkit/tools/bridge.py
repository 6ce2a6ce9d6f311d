"""Parser of ``bridge fdb``: bridge(8), bridge/fdb.c."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ipvkit.core.values import Address
from ipvkit.tools.ip.kinds import hardware_address
from ipvkit.tools.ip.plain import Line, Words, collected, flags, form, number, put, take
from ipvkit.tools.ip.reading import Entry, read

__all__ = ["FdbEntry", "parse_fdb"]


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """One entry of a forwarding table; `dev` is None where ``bridge`` was asked for one device.

    `dst` is the other end of a vxlan's tunnel. `state` is None for what was learned. `details` has all else
    by the keys of ``bridge -json``: used and updated are seconds ago.
    """

    lladdr: str
    dev: str | None
    vlan: int | None
    dst: Address | None
    master: str | None
    state: str | None
    flags: tuple[str, ...]
    details: Mapping[str, Any]
    unrecognised: tuple[str, ...]


def parse_fdb(stdout: str) -> tuple[FdbEntry, ...]:
    """Return the entries that ``bridge fdb show`` or ``get`` printed, plain or as JSON.

    Raise UnparsableOutput for anything else. A plain line is read up to its first unknown word, and is kept
    whole then.

    >>> parse_fdb("02:00:00:00:00:01 dev eth0 vlan 1 master br0 permanent")[0].master
    'br0'
    """
    return tuple(_entry(entry, left) for entry, left in read("bridge fdb", stdout, _take_line))


def _entry(entry: Entry, unrecognised: list[str]) -> FdbEntry:
    return FdbEntry(
        lladdr=entry.text("mac"),
        dev=entry.text_or_none("ifname"),
        vlan=entry.number_or_none("vlan"),
        dst=entry.address_or_none("dst"),
        master=entry.text_or_none("master"),
        state=entry.text_or_none("state") or None,
        flags=entry.texts("flags"),
        details=entry.rest(("mac", "ifname", "vlan", "dst", "master", "state", "flags")),
        unrecognised=tuple(unrecognised),
    )


def _take_line(line: Line, read: list[dict[str, Any]]) -> None:
    words = Words(line.text)
    read.append({"mac": hardware_address(words)})
    take(words, _ENTRY, read[-1])


def _used(words: Words, into: dict[str, Any]) -> None:
    used, _, updated = words.word().partition("/")
    put(into, "used", number(used))
    put(into, "updated", number(updated))


def _via(words: Words, into: dict[str, Any]) -> None:
    if words.peek() == "ifindex":
        words.word()
        put(into, "viaIfIndex", words.number())
    else:
        put(into, "viaIf", words.word())


_ENTRY = (
    form("dev=ifname", Words.word)
    | form("dst", lambda words: words.valid(ip_address))
    | form("vlan port vni src_vni nhid link-netnsid=linkNetNsId", Words.number)
    | {"used": _used, "via": _via}
    | collected("flags", "self router extern_learn offload sticky locked".split())
)
for _state in ("permanent", "static", "stale"):
    _ENTRY |= flags(f"{_state}=state", _state)


def _master(words: Words, into: dict[str, Any]) -> None:
    """Take ``master br0``, or the flag ``master``, which has no name behind it."""
    if words.peek() in (*_ENTRY, ""):
        into.setdefault("flags", []).append("master")
    else:
        put(into, "master", words.word())


_ENTRY |= {"master": _master}
