"""The sysctls of a network namespace that a lab may set, and those that the rules know."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from ipvkit.core.errors import UsageError
from ipvkit.core.values import sysctl_key

_OF_NAMESPACE = {
    "ipv4": "ip_forward ip_nonlocal_bind icmp_echo_ignore_all fwmark_reflect",
    "ipv6": "ip_nonlocal_bind anycast_src_echo_reply",
}
_OF_LINK = {
    ("ipv4", "conf"): (
        "accept_local accept_redirects arp_accept arp_announce arp_evict_nocarrier arp_filter arp_ignore "
        "arp_notify drop_gratuitous_arp forwarding promote_secondaries proxy_arp proxy_arp_pvlan rp_filter "
        "secure_redirects send_redirects src_valid_mark"
    ),
    ("ipv6", "conf"): (
        "accept_dad accept_ra accept_ra_defrtr accept_ra_pinfo accept_redirects accept_untracked_na "
        "addr_gen_mode autoconf dad_transmits disable_ipv6 drop_unsolicited_na forwarding ndisc_notify "
        "ndisc_evict_nocarrier proxy_ndp use_tempaddr"
    ),
    **dict.fromkeys(
        [("ipv4", "neigh"), ("ipv6", "neigh")],
        "base_reachable_time_ms delay_first_probe_time gc_stale_time locktime mcast_resolicit mcast_solicit "
        "proxy_delay proxy_qlen retrans_time_ms ucast_solicit",
    ),
}
OF_ADVERTISEMENTS = (
    "accept_dad accept_ra accept_ra_defrtr accept_ra_pinfo addr_gen_mode autoconf dad_transmits use_tempaddr"
).split()
"""What a lab does not depend on, unless endpoints have `slaac`: else its addresses are added, without DAD."""

_HINT = "docs/reference/lab-format.md lists those that a lab may set"
_MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sysctl:
    """`value` of a `node`'s sysctl `key`: of its whole namespace, or of `dev`, all or default."""

    node: str
    key: str
    value: int

    @property
    def family(self) -> str:
        """The family that it is about."""
        return self.key.split(".")[1]

    @property
    def dev(self) -> str:
        """The link that it is about, as it is called there: all and default are among them; or nothing."""
        parts = self.key.split(".")
        return parts[3].replace("/", ".") if len(parts) == 5 else ""

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.key}={self.value} of {self.node}"

    def moved(self, former: str, dev: str) -> "Sysctl":
        """Return that of `dev` where it is about the link `former`."""
        group, _, name = self.key.partition(f".{former.replace('.', '/')}.")
        return replace(self, key=f"{group}.{dev.replace('.', '/')}.{name}") if self.dev == former else self

    def is_modelled(self, hosts: Collection[str]) -> bool:
        """Return whether the rules know what it changes; `hosts` are those with parents."""
        match self.name, self.dev, self.value:
            case "arp_ignore" | "arp_accept", dev, 0 | 1:
                return dev != "default"
            case ("forwarding", "all", 0 | 1) | ("ip_forward", _, 0 | 1):
                # A strategy may let the host forward on one link, before or after that.
                return self.value == 1 or self.node not in hosts
        return self.name == "ip_nonlocal_bind" or self.name in OF_ADVERTISEMENTS


def checked(node: str, value: str, key: str) -> Sysctl:
    """Return the sysctl; raise UsageError for one that no lab may set."""
    sysctl_key(key)
    if not re.fullmatch(r"-?[0-9]{1,10}", value) or abs(int(value)) > _MOST:
        raise UsageError(f"{key}: {value!r} is not a whole number", "write one")
    found = Sysctl(node, key, int(value))
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "net" and parts[2] in _OF_NAMESPACE.get(parts[1], "").split():
        return found
    if len(parts) == 5 and parts[0] == "net" and parts[4] in _OF_LINK.get((parts[1], parts[2]), "").split():
        return found
    raise UsageError(f"a lab cannot set {key}", _HINT)


def names() -> dict[str, list[str]]:
    """Return the names of all sysctls that a lab may set, by the beginning of their keys."""
    of_links = {f"net.{family}.{group}.LINK": words.split() for (family, group), words in _OF_LINK.items()}
    return {f"net.{family}": words.split() for family, words in _OF_NAMESPACE.items()} | of_links
