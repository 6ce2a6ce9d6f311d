"""Facts about this machine that matter to a parent; nothing is changed.

Nothing is sent but ARP probes for the requested addresses.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from ipvkit.core.errors import Interrupted, IpvkitError
from ipvkit.host import checks
from ipvkit.host.checks import Finding, Machine, Namespace, Request
from ipvkit.host.namespaces import Space, Spaces, is_there, spaces
from ipvkit.run.execution import ask, look
from ipvkit.targets.agent import Agent
from ipvkit.targets.programs import PACKAGES, find_program
from ipvkit.tools import arping, ip
from ipvkit.tools.nsenter import in_net

_CLASS = Path("/sys/class/net")
_DMI = Path("/sys/class/dmi/id")
_SYSCTLS = Path("/proc/sys/net")
_DMI_FIELDS = ("sys_vendor", "product_name", "board_vendor", "chassis_asset_tag")
Read = Callable[[str], str]
"""Returns the text of a file of a machine, as `read` does here."""

SUDO = 'only root can: sudo "$(command -v ipvkit)" …'


def gather(request: Request, agent: Agent) -> Machine:
    """Return facts about this machine; raise IpvkitError where its own links cannot be read.

    A signal that comes into the agent's inbox raises Interrupted.
    """
    seen = look(agent, {"links": ip.addr_show(details=True), "namespaces": ip.netns_list()})
    found = spaces()
    by_name = {name: space for space in found.found.values() for name in space.names}
    # A file there that is not a namespace has a name too.
    listed = [netns.name for netns in ip.parse_netns(seen["namespaces"].stdout)]
    named = {name: by_name.get(name, Space("")) for name in listed}
    elsewhere, unseen = _elsewhere(found, named, agent)
    machine = Machine(
        links=ip.parse_addresses(seen["links"].stdout),
        elsewhere=elsewhere,
        namespaces={name: tuple(space.pids) for name, space in named.items()},
        wireless=any(Path(_CLASS, request.parent, name).exists() for name in ("wireless", "phy80211")),
        rp_filter=rp_filter(request.parent),
        forwarding=_setting(request.parent, "forwarding") != 0,
        # Only the initial network namespace has it.
        most_neighbours=int(limit) if (limit := read("ipv4/neigh/default/gc_thresh3")) else None,
        dmi={field: text for field in _DMI_FIELDS if (text := read(_DMI / field))},
        unseen=tuple(unseen),
    )
    answers, unasked = _answers(request, machine, agent)
    return replace(machine, answers=answers, unseen=(*machine.unseen, *unasked))


def read(path: str | Path) -> str:
    """Return the text of a file, by its path below /proc/sys/net; nothing where it cannot be read."""
    try:
        return (_SYSCTLS / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def rp_filter(dev: str, read: Read = read) -> int:
    """Return the value of rp_filter that counts on a link: its value or that of `all`, the larger one."""
    return max(_setting("all", "rp_filter", read), _setting(dev, "rp_filter", read))


def _setting(dev: str, name: str, read: Read = read) -> int:
    """Return a value of ``net.ipv4.conf`` of a link; 0 where there is no such link."""
    return int(read(f"ipv4/conf/{dev}/{name}") or 0)


def _elsewhere(
    found: Spaces, named: Mapping[str, Space], agent: Agent
) -> tuple[dict[Namespace, tuple[ip.Link, ...]], list[Finding]]:
    """Return the links of each other namespace, and what could not be read."""
    show = ip.addr_show(details=True)
    shown: dict[Namespace, str] = {}
    own = found.found.get(found.own) if found.own is not None else None
    others = [name for name, space in named.items() if space is not own]
    if others:
        texts = ip.by_netns(ask(agent, {"each": ip.at_each(show)})["each"].stdout)
        shown |= {Namespace(netns=name): texts.get(name, "") for name in others}
    nameless = [space for space in found.found.values() if space is not own and not space.names]
    entered = {space.path: in_net(space.path, show) for space in nameless} if find_program("nsenter") else {}
    printed = {path: done.stdout for path, done in ask(agent, entered).items()}
    shown |= {_namespace(space): printed.get(space.path, "") for space in nameless}
    links_in: dict[Namespace, tuple[ip.Link, ...]] = {}
    missed = [*found.closed]
    for namespace, text in shown.items():
        links: tuple[ip.Link, ...] = ()
        with suppress(IpvkitError):
            links = ip.parse_addresses(text)
        # Each namespace has a loopback.
        if links:
            own_names = own.names if own is not None else ()
            links_in[namespace] = _with_their_netns(namespace, links, own_names, agent)
        elif namespace.netns or is_there(namespace.path):
            missed.append(str(namespace))
    return links_in, _missed(missed, found.hidden)


def _namespace(space: Space) -> Namespace:
    """Return the display form of a namespace without a name."""
    return Namespace(what=str(space), path=space.path)


def _with_their_netns(
    namespace: Namespace, links: tuple[ip.Link, ...], own_names: Collection[str], agent: Agent
) -> tuple[ip.Link, ...]:
    """Return `links` with the name of the namespace of each one's lower device, where that is another.

    ``ip -json`` prints only its number, which is valid in the namespace of the link. The names are read only
    where they matter: that takes a command for each namespace.
    """
    if not any(link.kind in checks.UPPER_KINDS and link.link_netnsid is not None for link in links):
        return links
    listing = ip.netns_list()
    command = ip.at(namespace.netns, listing) if namespace.netns else in_net(namespace.path, listing)
    names: dict[int | None, str] = {}
    with suppress(IpvkitError):
        for netns in ip.parse_netns(ask(agent, {"names": command})["names"].stdout):
            if netns.id is not None and netns.name not in own_names:
                names[netns.id] = netns.name
    return tuple(replace(link, link_netns=names.get(link.link_netnsid)) for link in links)


def _missed(namespaces: Sequence[str], hidden: int) -> list[Finding]:
    processes = f"{hidden} processes" if hidden > 1 else "a process"
    others = [f"the namespaces of {processes} of other users"] if hidden else []
    missed = [*([checks.some(namespaces)] if namespaces else []), *others]
    if not missed:
        return []
    fix = SUDO if os.geteuid() != 0 else "links in there may be on the parent too"
    return [Finding("not-looked-at", "warning", f"not checked: {', and '.join(missed)}", fix)]


def _answers(
    request: Request, machine: Machine, agent: Agent
) -> tuple[dict[IPv4Address, tuple[str, ...]], tuple[Finding, ...]]:
    """Return the MAC addresses that answered for each address, and what could not be asked."""
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
        fix = SUDO if os.geteuid() != 0 else "run arping -D yourself"
        return {}, (_not_asked(f"arping: {why}", fix),)
    return {address: report.lladdrs for address, report in reports.items()}, ()


def _not_asked(why: str, fix: str) -> Finding:
    return Finding("not-looked-at", "warning", f"not checked whether an address is in use: {why}", fix)
