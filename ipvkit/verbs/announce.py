"""Sends gratuitous ARP periodically for ipvlan endpoints in l3, which do no ARP themselves.

After an entry of a neighbour has failed, only the next announcement makes it valid again. So announcements
have to be repeated for as long as the endpoint must be reachable (docs/explanation/l3-is-silent.md).
"""

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from queue import SimpleQueue
from typing import Literal, cast

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import CommandFailed, Interrupted, IpvkitError, MissingRequirement, UsageError
from ipvkit.host.checks import Machine, Namespace, endpoints_on, some
from ipvkit.host.interfaces import link_instead
from ipvkit.plan import resources
from ipvkit.run import execution, journal
from ipvkit.run.rollback import Rollback
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.targets.agent import Agent, Ended, Target
from ipvkit.tools import arping, ip, sysctl
from ipvkit.verbs.single import placed

_SET = "nonlocal-bind"

LOOK_ELSEWHERE = ip.at_each(ip.addr_show(details=True))
"""The command that shows the links and the addresses of each namespace that has a name."""

Sysctl = Literal["untouched", "restored", "changed", "failed"]
"""The state of ip_nonlocal_bind: `changed` by another process meanwhile, or `failed` to be restored."""

Reason = Literal["time", "reader", "error", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]
"""Why it stopped: `time` is up, stdout was closed (`reader`), or the name of a signal."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is announced: `addresses` out of `parent`, every `every_s` seconds, for `for_s` or without end.

    With `force` they need not be those of endpoints.
    """

    addresses: tuple[IPv4Address, ...]
    parent: str
    every_s: float = 3.0
    for_s: float | None = None
    netns: str | None = None
    force: bool = False
    by: arping.Implementation = "iputils"
    bound_s: float = 10.0
    """An arping that takes longer, in seconds, is killed."""

    def __post_init__(self) -> None:
        twice = next((a for a in self.addresses if self.addresses.count(a) > 1), None)
        if twice is not None:
            raise UsageError(f"{twice} is given twice", "name each address once")
        # Less floods the network, and every neighbour entry expires within an hour.
        if not 0.2 <= self.every_s <= 3600:
            what = f"{self.every_s:g} s between two rounds is out of range"
            raise UsageError(what, "use 200ms to 1h, such as 3s")
        if self.for_s is not None and self.for_s <= 0:
            raise UsageError("nothing can be announced for 0 s", "use a time such as 60s, or omit --for")

    @property
    def name(self) -> str:
        """The name of its journal: one for each namespace, of which it sets the sysctl."""
        return f"announce@{self.netns or 'host'}"

    @property
    def look(self) -> Command:
        """The command that shows the links and the addresses of the namespace."""
        return placed(self.netns, ip.addr_show(details=True))

    @property
    def read(self) -> Command:
        """The command that shows whether arping may send from an address that the host does not have."""
        return in_netns(self.netns, sysctl.get_value(NONLOCAL_BIND))

    def write(self, value: int) -> Command:
        """Return the command that sets that to `value`."""
        return in_netns(self.netns, sysctl.set_values({NONLOCAL_BIND: value}))

    def once(self, address: IPv4Address) -> Command:
        """Return the command that announces `address` once."""
        return in_netns(self.netns, arping.announce(address, self.parent, count=1, by=self.by))


@dataclass(frozen=True, slots=True)
class Began:
    """The first round follows; `nonlocal_bind` is whether the sysctl was set."""

    announcement: Announcement
    nonlocal_bind: bool


@dataclass(frozen=True, slots=True)
class Round:
    """Another round begins; the first has the number 1."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Announcing `address` begins to fail, `after_s` seconds after the start."""

    address: IPv4Address
    after_s: float
    message: str
    command: Command


@dataclass(frozen=True, slots=True)
class Recovered:
    """An address is announced again."""

    address: IPv4Address
    after_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end: why, after how many rounds and seconds, and the state of the sysctl."""

    reason: Reason
    rounds: int
    after_s: float
    sysctl: Sysctl = "untouched"
    value: int | None = None
    """That of the sysctl now; None where it was not touched or is unknown."""
    failure: IpvkitError | None = None

    @property
    def exit_code(self) -> int:
        """Return the exit code; 130 means that all has been restored."""
        if self.sysctl == "failed":
            return CommandFailed.exit_code
        if self.failure is not None:
            return self.failure.exit_code
        return 0 if self.reason in ("time", "reader") else Interrupted.exit_code


Event = Began | Round | Failed | Recovered | Stopped
Listener = Callable[[Event], bool]
"""Called with each event; returns whether its output still has a reader."""


def keep(announcement: Announcement, target: Target, listener: Listener) -> Stopped:
    """Announce until time is up, a signal comes or the reader has gone; restore what was changed.

    Raise MissingRequirement, CommandFailed or UsageError where it cannot start; nothing stays changed then.
    """
    inbox = SimpleQueue[Ended | execution.Signal]()
    # What is changed is not cut short by a signal: that is in another inbox.
    with execution.signals_into(inbox), Agent(target, SimpleQueue()) as setter, Agent(target, inbox) as agent:
        # A former run that was killed; one that still runs keeps its changes.
        with suppress(UsageError), journal.taken_over(announcement.name) as former:
            if former is not None and not former.elsewhere:
                Rollback(former, setter, lambda _event: None).run()
        began = Began(announcement, nonlocal_bind=_prepared(announcement, setter))
        rounds = _Rounds(announcement, agent, listener)
        if began.nonlocal_bind:
            with journal.started(announcement.name) as record:
                stopped = _with_nonlocal_bind(record, rounds, began, setter)
        else:
            stopped = rounds.run(began)
        listener(stopped)
    return stopped


def _with_nonlocal_bind(record: journal.Journal, rounds: "_Rounds", began: Began, agent: Agent) -> Stopped:
    """Announce with the sysctl set, and restore it; the undo is on disk before the change."""
    announcement = began.announcement
    resource = resources.Sysctl(NONLOCAL_BIND, 1, announcement.netns)
    purpose = "let arping send from an address that is not the host's own"
    record.begin([journal.Entry(_SET, purpose, resource, former="0")])
    stopped = Stopped("error", 0, 0.0)
    try:
        execution.carry_out(agent, announcement.write(1))
        stopped = rounds.run(began)
    finally:
        stopped = _restored(stopped, announcement, agent)
        if stopped.sysctl != "failed":
            record.end((), (_SET,))
    return stopped


def _prepared(announcement: Announcement, agent: Agent) -> bool:
    """Return whether the sysctl has to be set; raise where the parent cannot send, now or ever."""
    try:
        seen = execution.carry_out(agent, announcement.look)
    except CommandFailed as problem:
        if announcement.netns is not None:
            problem.hint = "list the namespaces with `ipvkit netns list`"
        raise
    links = ip.parse_addresses(seen.stdout)
    dev = announcement.parent
    parent = next((link for link in links if link.ifname == dev), None)
    if parent is None:
        raise MissingRequirement(f"no such interface: {dev}", link_instead(dev, links))
    if {"LOOPBACK", "NOARP"} & set(parent.flags):
        raise UsageError(f"{dev} does no ARP", "use the parent of the endpoint, a link to a network")
    if not parent.up:
        raise MissingRequirement(f"{dev} is down", str(placed(announcement.netns, ip.link_set(dev, up=True))))
    own = {address.ip for link in links for address in link.ipv4}
    foreign = set(announcement.addresses) - own
    if foreign and not announcement.force:
        _require_endpoints(foreign, parent, links, agent)
    # Habets' arping does not bind to the address that it announces.
    if announcement.by == "habets" or not foreign:
        return False
    return _value(announcement, agent) == 0


def _require_endpoints(
    wanted: set[IPv4Address], parent: ip.Link, links: tuple[ip.Link, ...], agent: Agent
) -> None:
    """Raise UsageError where no endpoint of `parent` has one of `wanted`: its owner would lose packets."""
    shown = ip.by_netns(execution.ask(agent, {"each": LOOK_ELSEWHERE})["each"].stdout)
    elsewhere = {}
    for netns, text in shown.items():
        # That of a deleted namespace is empty.
        with suppress(IpvkitError):
            elsewhere[Namespace(netns)] = ip.parse_addresses(text)
    endpoints = endpoints_on(parent, Machine(links, elsewhere))
    held = {address.ip: name for name, link in endpoints.items() for address in link.ipv4}
    if unknown := sorted(wanted - held.keys()):
        there = some(f"{address} ({name})" for address, name in sorted(held.items()))
        hint = f"choose from {there}" if there else "no namespace with a name has an endpoint of it"
        what = f"no endpoint of {parent.ifname} has {some(map(str, unknown))}"
        raise UsageError(what, f"{hint}; --force announces it anyway")


def _value(announcement: Announcement, agent: Agent) -> int:
    return int(execution.carry_out(agent, announcement.read).stdout)


def _restored(stopped: Stopped, announcement: Announcement, agent: Agent) -> Stopped:
    """Return `stopped` with the state of the sysctl, which is restored only if it still has the set value."""
    try:
        value = _value(announcement, agent)
        if value != 1:
            return replace(stopped, sysctl="changed", value=value)
        execution.carry_out(agent, announcement.write(0))
        value = _value(announcement, agent)
    except IpvkitError as problem:
        return replace(stopped, sysctl="failed", failure=problem)
    if value != 0:
        failure = CommandFailed(f"{NONLOCAL_BIND} is {value} after it was set to 0")
        return replace(stopped, sysctl="failed", value=value, failure=failure)
    return replace(stopped, sysctl="restored", value=value)


@dataclass(slots=True)
class _Rounds:
    """Announces in rounds, all addresses concurrently; one with a running arping is not started again."""

    announcement: Announcement
    agent: Agent
    listener: Listener
    rounds: int = 0
    started: float = 0.0
    failing: set[IPv4Address] = field(default_factory=set)
    under_way: dict[str, float] = field(default_factory=dict)
    """The addresses of which the arping has not ended, each with when it has to have."""

    def run(self, began: Began) -> Stopped:
        """Announce until something ends it; every arping has ended then."""
        self.started = time.monotonic()
        reason: Reason = "error"
        failure = None
        try:
            reason = self._until_stopped() if self.listener(began) else "reader"
        except IpvkitError as problem:
            failure = problem
        finally:
            self.agent.kill()
        return Stopped(reason, self.rounds, self._after_s(), failure=failure)

    def _until_stopped(self) -> Reason:
        """Announce until time is up, and the last round has ended."""
        end = self.started + (math.inf if self.announcement.for_s is None else self.announcement.for_s)
        due = self.started
        while (now := time.monotonic()) < end or self.under_way:
            if due <= now < end:
                self.rounds += 1
                if not (self.listener(Round(self.rounds)) and self._begin_round(now)):
                    return "reader"
                # Rounds that a sleeping or busy machine missed are not repeated.
                due += self.announcement.every_s * (1 + (now - due) // self.announcement.every_s)
            for key in (key for key, deadline in self.under_way.items() if now >= deadline):
                self.agent.stop(key)
            events = [due, end, *self.under_way.values()]
            coming = min((event for event in events if now < event), default=now + execution.BOUND_S)
            news = execution.next_of(self.agent.inbox, coming)
            if news is None and now >= end and coming > max(self.under_way.values()):
                return "time"
            if isinstance(news, execution.Signal):
                return cast(Reason, news.name)
            if isinstance(news, Ended) and news.completed and not self._report(news.key, news.completed):
                return "reader"
        return "time"

    def _begin_round(self, now: float) -> bool:
        """Start to announce each address; return False where the reader has gone."""
        read = True
        for address in self.announcement.addresses:
            key = str(address)
            if key in self.under_way:
                continue
            command = self.announcement.once(address)
            try:
                execution.require_for(self.agent.target, [command])
                self.agent.start([{key: command}])
            except Exception as problem:
                read = self._failed(address, getattr(problem, "message", str(problem))) and read
            else:
                self.under_way[key] = now + self.announcement.bound_s
        return read

    def _report(self, key: str, completed: Completed) -> bool:
        """Report an address that began to fail or recovered; return False where the reader has gone."""
        address = IPv4Address(key)
        was_late = time.monotonic() >= self.under_way.pop(key)
        complaint = _complaint(self.announcement.once(address), completed)
        if complaint and was_late:
            complaint = f"it did not end within {self.announcement.bound_s:g} s and was killed"
        if complaint:
            return self._failed(address, complaint)
        if address in self.failing:
            self.failing.remove(address)
            return self.listener(Recovered(address, self._after_s()))
        return True

    def _failed(self, address: IPv4Address, message: str) -> bool:
        if address in self.failing:
            return True
        self.failing.add(address)
        return self.listener(Failed(address, self._after_s(), message, self.announcement.once(address)))

    def _after_s(self) -> float:
        return time.monotonic() - self.started


def _complaint(command: Command, completed: Completed) -> str:
    """Return why an arping did not announce, or nothing; raise MissingRequirement without the privilege."""
    try:
        execution.succeeded(command, completed)
        report = arping.parse_arping(completed.stdout + completed.stderr)
    except CommandFailed as problem:
        lines = problem.stderr.splitlines()
        return re.sub(r"^(\S*/)?arping: ", "", lines[-1]) if lines else problem.message
    except MissingRequirement:
        raise
    except IpvkitError as problem:
        return problem.message
    if report.complete:
        return ""
    return report.errors[-1] if report.errors else "it ended early"
