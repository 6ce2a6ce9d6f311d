"""What ``ip -json`` prints."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import get_args

from ipvkit.tools.ip.reading import Entry
from ipvkit.values import Flag


@dataclass(frozen=True, slots=True)
class Link:
    """One link as ``ip -details link`` shows it; what does not apply is None."""

    ifname: str
    kind: str | None
    mode: str | None
    flag: str | None
    master: str | None
    parent: str | None
    flags: tuple[str, ...]

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return "UP" in self.flags


def parse_links(stdout: str) -> tuple[Link, ...]:
    """Return the links that `link_show` printed; raise UnparsableOutput for anything else."""
    return tuple(_link(entry) for entry in Entry.all("ip link", stdout))


def _link(entry: Entry) -> Link:
    info = entry.inner("linkinfo")
    data = info.inner("info_data")
    return Link(
        ifname=entry.text("ifname"),
        kind=info.text_or_none("info_kind"),
        mode=data.text_or_none("mode"),
        flag=next((flag for flag in get_args(Flag) if data.value.get(flag) is True), None),
        master=entry.text_or_none("master"),
        parent=entry.text_or_none("link"),
        flags=entry.texts("flags"),
    )


def parse_addresses(stdout: str) -> dict[str, tuple[IPv4Interface, ...]]:
    """Return the IPv4 addresses of each link that `addr_show` printed."""
    found = {}
    for entry in Entry.all("ip addr", stdout):
        infos = [info for info in entry.inners("addr_info") if info.text_or_none("family") == "inet"]
        found[entry.text("ifname")] = tuple(info.address() for info in infos)
    return found


def parse_netns_list(stdout: str) -> tuple[str, ...]:
    """Return the names of the network namespaces that `netns_list` printed."""
    return tuple(entry.text("name") for entry in Entry.all("ip netns", stdout))


def parse_gateway(stdout: str) -> IPv4Address | None:
    """Return the gateway of the first default route that `route_show_default` printed, if any."""
    for entry in Entry.all("ip route", stdout):
        gateway = entry.text_or_none("gateway")
        if entry.text("dst") == "default" and gateway is not None:
            try:
                return IPv4Address(gateway)
            except ValueError:
                raise entry.unparsable() from None
    return None
