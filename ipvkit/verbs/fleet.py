"""Runs of whole labs on the hosts of an Ansible inventory, and their undo from the journals there."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Self

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError
from ipvkit.core.values import Address, InterfaceAddress, any_address, interface_address, interface_name
from ipvkit.host import checks
from ipvkit.lab import HOST, AddLink, Lab, Parent, Prober, RealParent, on_hosts, on_parent
from ipvkit.plan.make import make_plan
from ipvkit.run import engine, journal
from ipvkit.run.execution import ask, signals_into
from ipvkit.run.fleet import FOLDER, FleetJournal
from ipvkit.run.machines import Machines
from ipvkit.run.rollback import Began, Finished, Rollback, Stopping
from ipvkit.targets.agent import Agent, Inbox
from ipvkit.targets.fleet import Fleet, FleetHost, inventory
from ipvkit.tools import ip, ping
from ipvkit.verbs.cleanup import previewed_by
from ipvkit.verbs.run_lab import Note, Progress

Show = Callable[[str, Began | Finished | Stopping], None]
"""What shows an event on a host."""

Variables = Mapping[str, Any]
"""The variables that an inventory has for a host."""

_HEAD = "==> "
_OF_ROOT = ("-maxdepth", "1", "-name", "*.jsonl", "-type", "f", "-user", "root", "!", "-perm", "/022")
_EACH = ("-printf", rf"{_HEAD}%f\n", "-exec", "grep", "", "{}", ";")

_OF_UNUSED: tuple[str, ...] = ("no-link", "link-down")
"""What matters of a parent on which nothing is created, such as one below a VLAN."""

_VIEWS = {
    "boot": Command(("cat", "/proc/sys/kernel/random/boot_id")),
    "netns": Command(("stat", "-Lc", "%i", "/proc/self/ns/net")),
    "links": ip.addr_show(details=True),
    "routes": ip.route_show(default=True),
    "namespaces": ip.netns_list(),
    "ping": ping.VERSION,
    "journals": Command(("find", FOLDER, *_OF_ROOT, *_EACH)),
}
_WHICH = 'for one; do command -v -- "$one" >/dev/null || echo "$one"; done'


@dataclass(frozen=True, slots=True)
class Survey:
    """What a host shows, or `why` it could not be reached; `absent` are programs that it does not have."""

    shown: Mapping[str, Completed] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    why: str = ""

    @property
    def journals(self) -> dict[str, bytes]:
        """The text of each journal by the name of its lab."""
        found: dict[str, list[str]] = {}
        for line in self.shown["journals"].stdout.splitlines():
            if line.startswith(_HEAD):
                found[line.removeprefix(_HEAD).removesuffix(".jsonl")] = []
            elif found:
                found[next(reversed(found))].append(f"{line}\n")
        return {lab: "".join(lines).encode() for lab, lines in found.items()}

    def ledger(self, lab: str, host: FleetHost) -> FleetJournal:
        """Return the journal of `lab` there; raise CommandFailed where it is not valid."""
        boot, netns = (self.shown[name].stdout.strip() for name in ("boot", "netns"))
        found = FleetJournal(lab, {HOST: host}, boot, int(netns))
        found.read(self.journals[lab])
        found.watch(list(found.entries.values()))
        host.journaled = True
        return found


def survey(agent: Agent, programs: Sequence[str] = ()) -> Survey:
    """Return what a host shows, and which of `programs` it does not have."""
    try:
        seen = ask(agent, {**_VIEWS, "absent": Command(("bash", "-c", _WHICH, "-", *programs))})
    except CommandFailed:
        if not agent.complaint:
            raise
    if agent.complaint:
        return Survey(why=agent.complaint)
    return Survey(seen, tuple(seen["absent"].stdout.split()))


def hosts_for(lab: Lab, found: Mapping[str, Variables]) -> dict[str, str]:
    """Return which hosts of an inventory those of `lab` are; raise UsageError where one is not there."""
    names = ", ".join(found)
    if not lab.several_hosts:
        if len(found) != 1:
            what = f"lab {lab.name} has one host, and the inventory has {len(found)}: {names}"
            raise UsageError(what, "give an inventory with one host, or a lab with `hosts`")
        return {HOST: next(iter(found))}
    if absent := [name for name in lab.hosts if name not in found]:
        what = f"the inventory has no {', '.join(absent)}, as hosts of lab {lab.name} are called"
        raise UsageError(what, f"it has {names}")
    return {name: name for name in lab.hosts}


def placed(lab: Lab, known: Mapping[str, Variables], seen: Mapping[str, Survey] | None = None) -> Lab:
    """Return `lab` on its real hosts, with the variables `known` of each, as far as they were `seen`.

    Raise UsageError where a variable is not valid.
    """
    seen = seen or {}
    real = {one.name: _real(lab, one, known[one.on], seen.get(one.on)) for one in lab.parents}
    addresses = {name: own for host in lab.hosts for name, own in _addresses(host, known[host]).items()}
    if lab.several_hosts or len(lab.parents) > 1:
        return on_hosts(lab, real, addresses)
    (one,) = real.values()
    return on_parent(lab, one.dev, host=one.host, addresses=addresses, gateway=next(iter(one.gateway), None))


def _real(lab: Lab, parent: Parent, known: Variables, seen: Survey | None) -> RealParent:
    given = _of_parent(lab, parent, known, "ipvkit_parent")
    dev = parent.dev if given is None else interface_name(given)
    own = parent.host
    if seen is not None:
        links = ip.parse_addresses(seen.shown["links"].stdout)
        link = next((link for link in links if link.ifname == dev), None)
        has = link.addresses if link is not None else ()
        own = tuple(address.address for address in has if address.scope == "global")
    gateway = _of_parent(lab, parent, known, "ipvkit_gateway")
    gateways = _gateways(parent.gateway, own, dev, seen) if gateway is None else (any_address(gateway),)
    return RealParent(dev, own, gateways)


def _of_parent(lab: Lab, parent: Parent, known: Variables, variable: str) -> str | None:
    """Return what `variable` is for `parent`: of a host with several, by what the lab calls its device."""
    several, host = f"{variable}s", parent.on
    if several in known:
        by_dev = _mapping(several, host, known, f"{{{parent.dev}: …}}")
        called = {one.dev: None for one in lab.parents}
        if absent := [dev for dev in by_dev if dev not in called]:
            what = f"{several} of {host} has {absent[0]}, and no parent of lab {lab.name} is called so"
            raise UsageError(what, f"choose from {', '.join(called)}")
        return by_dev.get(parent.dev)
    devs = [one.dev for one in lab.parents_on(host)]
    if variable in known and len(devs) > 1:
        what = f"{variable} is for a host with one parent, and {host} has {', '.join(devs)}"
        raise UsageError(what, f"write {several}: {{{devs[0]}: …}}")
    return str(known[variable]) if variable in known else None


def _addresses(host: str, known: Variables) -> dict[str, InterfaceAddress]:
    """Return the addresses that the inventory has for endpoints of a host, by their names."""
    given = _mapping("ipvkit_addresses", host, known, "{web: 192.168.104.211/24}")
    return {name: interface_address(text) for name, text in given.items()}


def _mapping(variable: str, host: str, known: Variables, example: str) -> dict[str, str]:
    """Return a variable of a host that is a mapping; raise UsageError for another."""
    found = known.get(variable, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"{variable} of {host} is {found!r}", f"write a mapping, such as {example}")
    return {str(name): str(value) for name, value in found.items()}


def _gateways(
    named: tuple[Address, ...], own: tuple[InterfaceAddress, ...], dev: str, seen: Survey | None
) -> tuple[Address, ...]:
    """Return the lab's gateway where it may be in a subnet of the host, or that of its default route."""
    near = tuple(gateway for gateway in named if not own or any(gateway in a.network for a in own))
    if near or seen is None:
        return near
    routes = [route for route in ip.parse_routes(seen.shown["routes"].stdout) if route.dev == dev]
    gateway = ip.gateway_of(routes)
    return () if gateway is None else (gateway,)


def previewed(lab: Lab, paths: Sequence[str]) -> Lab:
    """Return `lab` on the hosts of an inventory, as far as it is known without reaching them."""
    found = inventory(paths)
    names = hosts_for(lab, found)
    return placed(lab, {machine: found[name] for machine, name in names.items()})


def on_fleet(
    lab: Lab,
    paths: Sequence[str],
    prober: Prober,
    progress: Progress,
    note: Note,
    *,
    keep: bool,
    timeout_s: float,
) -> engine.Run:
    """Run `lab` on the hosts of an inventory, with its undo on each before the commands run there.

    Raise MissingRequirement where a host cannot be reached, UsageError where the lab cannot start on it.
    """
    found = inventory(paths)
    names = hosts_for(lab, found)
    known = {machine: found[name] for machine, name in names.items()}
    programs = make_plan(placed(lab, known)).programs
    inbox: Inbox = SimpleQueue()
    with (
        signals_into(inbox),
        journal.started(_lock(lab.name)),
        Fleet(paths, names) as fleet,
    ):
        with Machines(fleet.hosts, inbox) as machines:
            seen = machines.on_each(lambda _, agent: survey(agent, programs))
        require_ready(names, seen)
        refuse_journals(lab.name, names, seen)
        fleet.lab = lab.name
        lab = placed(lab, known, seen)
        check_hosts(lab, names, seen, note)
        plan, ledger = make_plan(lab), FleetJournal(lab.name, fleet.hosts)
        with progress(plan) as show:
            run = engine.run(
                plan, fleet, show, keep=keep, timeout_s=timeout_s, inbox=inbox, journal=ledger, prober=prober
            )
        last = {host: (fleet.hosts[host], command) for host, command in ledger.last_commands().items()}
        run.residue += tuple(f"{names[host]}: {why}" for host, why in _finish(last, inbox).items())
    return run


def _lock(lab: str) -> str:
    """Return the name of the journal that a run of `lab` on a fleet holds on this machine."""
    return f"{lab}@fleet"


def require_ready(names: Mapping[str, str], seen: Mapping[str, Survey]) -> None:
    """Raise MissingRequirement where a host was not reached, lacks a program or has another ping."""
    lines = [found.why for found in seen.values() if found.why]
    if lines:
        what = f"{len(lines)} of {len(seen)} hosts cannot be reached"
        raise MissingRequirement(what, "see what `ansible all -m raw -a id` shows", stderr="\n".join(lines))
    absent = [f"{names[host]}: {', '.join(one.absent)}" for host, one in seen.items() if one.absent]
    if absent:
        raise MissingRequirement("programs are not installed", "install them there", stderr="\n".join(absent))
    pings = {host: one.shown["ping"].stdout + one.shown["ping"].stderr for host, one in seen.items()}
    if others := [names[host] for host, said in pings.items() if ping.implementation(said) != "iputils"]:
        raise MissingRequirement(f"labs need the ping of iputils on {', '.join(others)}", "install it there")


def refuse_journals(lab: str, names: Mapping[str, str], seen: Mapping[str, Survey]) -> None:
    """Raise UsageError where a host has a journal of `lab`."""
    if there := [names[host] for host, found in seen.items() if lab in found.journals]:
        what = f"{journal.title(lab)} is up or was interrupted on {', '.join(there)}"
        raise UsageError(what, f"ipvkit down {lab} --inventory …, or ipvkit cleanup {lab} --inventory …")


def check_hosts(lab: Lab, names: Mapping[str, str], seen: Mapping[str, Survey], note: Note) -> None:
    """Note what stops no run; raise UsageError with all findings where one does."""
    findings, used = dict[str, checks.Severity](), _used(lab)
    for host, found in seen.items():
        links = ip.parse_addresses(found.shown["links"].stdout)
        listed = ip.parse_netns(found.shown["namespaces"].stdout)
        machine = checks.Machine(links=links, namespaces={netns.name: () for netns in listed})
        for parent in lab.parents_on(host):
            of = checks.check(checks.request_of(lab, parent), machine).findings
            of = of if parent.name in used else tuple(one for one in of if one.code in _OF_UNUSED)
            findings |= {f"{names[host]}: {finding}": finding.severity for finding in of}
    for line in (line for line, severity in findings.items() if severity != "error"):
        note(f"{'note' if findings[line] == 'info' else 'warning'}: {line}")
    if errors := [line for line, severity in findings.items() if severity == "error"]:
        lines = "\n  ".join(errors)
        raise UsageError(f"lab {lab.name} cannot start on these hosts:\n  {lines}")


def _used(lab: Lab) -> set[str]:
    """Return the names of the parents on which `lab` creates links."""
    acts = [act for phase in lab.phases for act in phase.acts]
    added = {a.change.parent for act in acts for a in act.attempts if isinstance(a.change, AddLink)}
    moved = {parent for act in acts for parent in lab.parents_after(act.move).values()}
    return {*added, *moved, *(endpoint.parent for endpoint in lab.endpoints)}


def _finish(last: Mapping[str, tuple[FleetHost, Command]], inbox: Inbox) -> dict[str, str]:
    """Run the `last` commands of journals; return why that failed, by machine."""
    if not last:
        return {}

    def finish(name: str, agent: Agent) -> str:
        with suppress(IpvkitError):
            done = ask(agent, {"last": last[name][1]}, on_signal=lambda _: None)["last"]
            if done.exit_code == 0:
                return ""
        return f"its journal could not be written: {agent.complaint}"

    with Machines({name: host for name, (host, _) in last.items()}, inbox) as machines:
        return {name: why for name, why in machines.on_each(finish).items() if why}


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of a run on a `host`: lines of leftovers there; `kept` is what was changed since."""

    host: str
    left: tuple[str, ...]
    kept: tuple[str, ...]


class Journals:
    """The journals on the hosts of an inventory, for one block."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Read the inventory."""
        self._inbox: Inbox = SimpleQueue()
        names = {name: name for name in inventory(paths)}
        self._fleet = Fleet(paths, names)
        self._seen: Mapping[str, Survey] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Reach the hosts; those that cannot be reached are `unreached`."""
        with ExitStack() as opened:
            opened.enter_context(signals_into(self._inbox))
            opened.enter_context(self._fleet)
            with Machines(self._fleet.hosts, self._inbox) as machines:
                self._seen = machines.on_each(lambda _, agent: survey(agent))
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the hosts."""
        self._open.close()

    @property
    def unreached(self) -> dict[str, str]:
        """Why hosts cannot be reached, by their names."""
        return {name: found.why for name, found in self._seen.items() if found.why}

    def labs(self) -> list[str]:
        """Return the names of the labs that have a journal on any host, sorted."""
        return sorted({lab for found in self._seen.values() if not found.why for lab in found.journals})

    def ledgers(self, lab: str, *, kept: bool) -> dict[str, FleetJournal | IpvkitError]:
        """Return the journal of `lab` on each host that has one, or why it cannot be undone there.

        What is up is only for `kept`. Raise UsageError where the lab runs from this machine.
        """
        found: dict[str, FleetJournal | IpvkitError] = {}
        with journal.taken_over(_lock(lab)):
            pass
        for name, there in self._seen.items():
            if there.why or lab not in there.journals:
                continue
            try:
                ledger = there.ledger(lab, self._fleet.hosts[name])
                if ledger.kept and not kept:
                    raise UsageError(f"{journal.title(lab)} is up", f"ipvkit down {lab} --inventory …")
                if ledger.header and ledger.elsewhere:
                    raise UsageError(f"{journal.title(lab)} ran in another network namespace there")
                found[name] = ledger
            except IpvkitError as problem:
                found[name] = problem
        return found

    def undo(self, ledgers: Mapping[str, FleetJournal], show: Show) -> list[Undone]:
        """Undo a run on all hosts, also where one fails."""
        if not ledgers:
            return []
        hosts = {name: self._fleet.hosts[name] for name in ledgers}
        (self._fleet.lab,) = {ledger.lab for ledger in ledgers.values()}

        lock = threading.Lock()

        def undo(name: str, agent: Agent) -> Rollback:
            def report(event: Began | Finished | Stopping) -> None:
                with lock:
                    show(name, event)

            done = Rollback(ledgers[name], agent, report)
            done.run()
            return done

        with Machines(hosts, self._inbox) as machines:
            done = machines.on_each(undo)
        last = {name: (hosts[name], ledger.last_commands()[HOST]) for name, ledger in ledgers.items()}
        why = _finish(last, self._inbox)
        return [
            Undone(name, (*each.left, *([why[name]] if name in why else ())), tuple(each.alone.values()))
            for name, each in done.items()
        ]

    def preview(self, ledgers: Mapping[str, FleetJournal]) -> dict[str, list[str]]:
        """Return the lines that show what would be undone now on each host."""
        hosts = {name: self._fleet.hosts[name] for name in ledgers}
        with Machines(hosts, self._inbox) as machines:
            return machines.on_each(lambda name, agent: list(previewed_by(agent, ledgers[name])))
