"""Facts about this machine that matter to a parent; nothing is changed.

Nothing is sent but ARP probes for the requested addresses.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from ipvkit.core.errors import Interrupted, IpvkitError
from ipvkit.host import checks
from ipvkit.host.checks import Finding, Machine, Namespace, Request
from ipvkit.run.execution import ask, look
from ipvkit.targets.agent import Agent
from ipvkit.targets.programs import PACKAGES, find_program
from ipvkit.tools import arping, ip
from ipvkit.tools.nsenter import in_net_of

_NETNS = Path("/run/netns")
_CLASS = Path("/sys/class/net")
_DMI = Path("/sys/class/dmi/id")
_MOST_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
_DMI_FIELDS = ("sys_vendor", "product_name", "board_vendor", "chassis_asset_tag")
_SUDO = 'only root can: sudo "$(command -v ipvkit)" …'

Inode = tuple[int, int]
"""The identity of a network namespace: device and inode of its file (namespaces(7))."""


def gather(request: Request, agent: Agent) -> Machine:
    """Return facts about this machine; raise IpvkitError where its own links cannot be read.

    A signal that comes into the agent's inbox raises Interrupted.
    """
    seen = look(agent, {"links": ip.addr_show(details=True), "namespaces": ip.netns_list()})
    spaces = _spaces([netns.name for netns in ip.parse_netns(seen["namespaces"].stdout)])
    elsewhere, unseen = _elsewhere(spaces, agent)
    machine = Machine(
        links=ip.parse_addresses(seen["links"].stdout),
        elsewhere=elsewhere,
        namespaces={name: spaces.processes.get(inode, ()) for name, inode in spaces.named.items()},
        wireless=any(Path(_CLASS, request.parent, name).exists() for name in ("wireless", "phy80211")),
        rp_filter=max(_setting(dev, "rp_filter") for dev in ("all", request.parent)),
        forwarding=_setting(request.parent, "forwarding") != 0,
        # Only the initial network namespace has it.
        most_neighbours=int(limit) if (limit := _read(_MOST_NEIGHBOURS)) else None,
        dmi={field: text for field in _DMI_FIELDS if (text := _read(_DMI / field))},
        unseen=tuple(unseen),
    )
    answers, unasked = _answers(request, machine, agent)
    return replace(machine, answers=answers, unseen=(*machine.unseen, *unasked))


def _setting(dev: str, name: str) -> int:
    """Return a value of ``net.ipv4.conf`` of a link; 0 where there is no such link."""
    return int(_read(Path("/proc/sys/net/ipv4/conf") / dev / name) or 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Spaces:
    """The network namespaces: this process's `own`, those with a name, the processes in each.

    `hidden` counts the processes of other users, which namespace they are in cannot be read.
    """

    own: Inode | None
    named: Mapping[str, Inode | None]
    processes: Mapping[Inode | None, tuple[int, ...]]
    hidden: int

    @property
    def own_names(self) -> frozenset[str]:
        """The names of this process's own namespace."""
        return frozenset(name for name, inode in self.named.items() if inode == self.own)

    @property
    def nameless(self) -> tuple[int, ...]:
        """One process in each namespace that has no name."""
        known = {self.own, *self.named.values()}
        return tuple(pids[0] for inode, pids in self.processes.items() if inode not in known)


def _spaces(names: Sequence[str]) -> _Spaces:
    processes: dict[Inode | None, tuple[int, ...]] = {}
    hidden = 0
    for pid in sorted(int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
        try:
            inode = _inode(Path(f"/proc/{pid}/ns/net"))
        except PermissionError:
            hidden += 1
            continue
        if inode is not None:
            processes[inode] = (*processes.get(inode, ()), pid)
    named = {name: _inode(_NETNS / name) for name in names}
    return _Spaces(_inode(Path("/proc/self/ns/net")), named, processes, hidden)


def _inode(path: Path) -> Inode | None:
    """Return the namespace of a file; None where it has gone; raise PermissionError where it is hidden."""
    try:
        found = path.stat()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found.st_dev, found.st_ino


def _elsewhere(spaces: _Spaces, agent: Agent) -> tuple[dict[Namespace, tuple[ip.Link, ...]], list[Finding]]:
    """Return the links of each other namespace, and what could not be read."""
    show = ip.addr_show(details=True)
    shown: dict[Namespace, str] = {}
    others = [name for name in spaces.named if name not in spaces.own_names]
    if others:
        texts = ip.by_netns(ask(agent, {"each": ip.at_each(show)})["each"].stdout)
        shown |= {Namespace(netns=name): texts.get(name, "") for name in others}
    entered = {str(pid): in_net_of(pid, show) for pid in spaces.nameless} if find_program("nsenter") else {}
    printed = {pid: done.stdout for pid, done in ask(agent, entered).items()}
    shown |= {Namespace(pid=pid): printed.get(str(pid), "") for pid in spaces.nameless}
    found: dict[Namespace, tuple[ip.Link, ...]] = {}
    missed = []
    for namespace, text in shown.items():
        links: tuple[ip.Link, ...] = ()
        with suppress(IpvkitError):
            links = ip.parse_addresses(text)
        # Each namespace has a loopback.
        if links:
            found[namespace] = _with_their_netns(namespace, links, spaces, agent)
        elif namespace.netns or Path(f"/proc/{namespace.pid}").exists():
            missed.append(str(namespace))
    return found, _missed(missed, spaces.hidden)


def _with_their_netns(
    namespace: Namespace, links: tuple[ip.Link, ...], spaces: _Spaces, agent: Agent
) -> tuple[ip.Link, ...]:
    """Return `links` with the name of the namespace of each one's lower device, where that is another.

    ``ip -json`` prints only its number, which is valid in the namespace of the link. The names are read only
    where they matter: that takes a command for each namespace.
    """
    if not any(link.kind in checks.UPPER_KINDS and link.link_netnsid is not None for link in links):
        return links
    listing = ip.netns_list()
    command = ip.at(namespace.netns, listing) if namespace.netns else in_net_of(namespace.pid, listing)
    names: dict[int | None, str] = {}
    with suppress(IpvkitError):
        for netns in ip.parse_netns(ask(agent, {"names": command})["names"].stdout):
            if netns.id is not None and netns.name not in spaces.own_names:
                names[netns.id] = netns.name
    return tuple(replace(link, link_netns=names.get(link.link_netnsid)) for link in links)


def _missed(namespaces: Sequence[str], hidden: int) -> list[Finding]:
    processes = f"{hidden} processes" if hidden > 1 else "a process"
    others = [f"the namespaces of {processes} of other users"] if hidden else []
    missed = [*([checks.some(namespaces)] if namespaces else []), *others]
    if not missed:
        return []
    fix = _SUDO if os.geteuid() != 0 else "links in there may be on the parent too"
    return [Finding("not-looked-at", "warning", f"not checked: {', and '.join(missed)}", fix)]


def _answers(
    request: Request, machine: Machine, agent: Agent
) -> tuple[dict[IPv4Address, tuple[str, ...]], tuple[Finding, ...]]:
    """Return the MAC addresses that answered for each address in use, and what could not be asked."""
    addresses = [own.ip for _, own in request.addresses if isinstance(own.ip, IPv4Address)]
    if not addresses or not checks.can_probe(request, machine):
        return {}, ()
    if find_program("arping") is None:
        return {}, (_not_asked("arping is not installed", f"apt install {PACKAGES['arping']}"),)
    try:
        version = ask(agent, {"version": arping.VERSION})["version"]
        by = arping.implementation(version.stdout + version.stderr)
        commands = {str(own): arping.find_duplicate(own, request.parent, by=by) for own in addresses}
        done = {IPv4Address(own): one.stdout + one.stderr for own, one in ask(agent, commands).items()}
        reports = {own: arping.parse_arping(printed) for own, printed in done.items()}
    except Interrupted:
        raise
    except IpvkitError as problem:
        return {}, (_not_asked(problem.message, problem.hint or "run arping -D yourself"),)
    failed = next((report for report in reports.values() if not report.complete and not report.in_use), None)
    if failed is not None:
        why = failed.errors[0] if failed.errors else "arping ended early"
        fix = _SUDO if os.geteuid() != 0 else "run arping -D yourself"
        return {}, (_not_asked(f"arping: {why}", fix),)
    return {address: report.lladdrs for address, report in reports.items() if report.in_use}, ()


def _not_asked(why: str, fix: str) -> Finding:
    return Finding("not-looked-at", "warning", f"not checked whether an address is in use: {why}", fix)
