"""The exported script: the plan's commands as lines of bash that a colleague reads, trusts and edits."""

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from ipvkit import __version__
from ipvkit.core.command import Command
from ipvkit.export import templates
from ipvkit.lab import LOST_AFTER, Attempt, Check, Outcome
from ipvkit.plan.resources import Link, Netns, Proxy, Resource, Route, undo_of
from ipvkit.plan.steps import Plan, Probe, Section, Stage, Step
from ipvkit.tools.ip import batch, line_of
from ipvkit.tools.socat import CONNECTED, ERRORS, REFUSED

_ERRORS = ("Network is unreachable", "Invalid argument", "No route to host", "Permission denied")
NO_ROUTE = (*(f"connect: {error}" for error in _ERRORS), "Do you want to ping broadcast?")
"""What ping prints, and exits with 2, where its own host has no route, or one of a type that leads nowhere.

For IPv4 it takes `prohibit` to be about a broadcast address (iputils' ping4_run()).
"""

_WIDTH = 140
"""How long a line may be with its purpose behind it; of a longer one the purpose is the line above."""

_USERS_PATH = "$PATH:/usr/local/sbin:/usr/sbin:/sbin"
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEYWORDS = "case coproc do done elif else esac fi for function if in select then time until while".split()
"""Words that shellcheck takes for bash's own wherever they are."""

_MOST_PURPOSES = 3


def exported(plan: Plan) -> str:
    """Return the whole lab as a bash script that needs neither ipvkit nor Python.

    Raise UsageError for a lab of several hosts.
    """
    plan.lab.require_one_host("an exported script")
    return "\n".join(_Script(plan).lines()) + "\n"


class _Script:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.simulated = plan, plan.lab.simulated
        self.probes = [step.probe for step in plan.steps if step.probe is not None]
        self.known = sum(probe.expected is not Outcome.NOT_MODELLED for probe in self.probes)
        steps = () if self.simulated else tuple(plan.steps)
        self.undos = {step.id: step.undo for step in steps if step.undo is not None}
        reads = dict.fromkeys(undo.reads for undo in self.undos.values() if undo.reads)
        self.former = {id: f"former{n if n > 1 else ''}" for n, id in enumerate(reads, 1)}
        self.tried = {step.id for step in steps if step.undo and step.probe}

    def lines(self) -> Iterator[str]:
        yield "#!/usr/bin/env bash"
        for text in self._about():
            yield from map(comment, textwrap.wrap(text, 116, break_on_hyphens=False))
        yield ""
        yield from self._before()
        for section in self.plan.sections:
            yield f"{comment(f'--- {section.title}')} ".ljust(100, "-")
            yield from self._section(section)
        if self.simulated:
            yield from self._report()
            yield f"exit $((good < {self.known}))"
        else:
            yield "trap - DEBUG # no more commands of the lab"

    # --- around the lab ---------------------------------------------------------------------------------

    def _about(self) -> Iterator[str]:
        lab = self.plan.lab
        return _filled(
            templates.ABOUT_SIMULATED if self.simulated else templates.ABOUT_ON_PARENT,
            LAB=lab.name,
            TEXT=" ".join(lab.about.split()),
            VERSION=__version__,
            PROGRAMS=", ".join(self.plan.programs),
            KERNEL=" and ipvlan in the kernel" if lab.has_ipvlan else "",
            NAMES=_some(list(dict.fromkeys(endpoint.netns for endpoint in lab.endpoints))),
            KINDS=" and ".join(sorted({phase.setting.kind for phase in lab.phases})),
            PARENT=lab.parent,
        )

    def _before(self) -> Iterator[str]:
        programs, commands = self.plan.programs, "|".join(self.plan.programs)
        pings = [name for name in ("ping", "arping") if name in programs]
        yield from _filled(
            templates.BEGIN,
            SEARCH_PATH=_USERS_PATH if self.simulated else _ROOTS_PATH,
            PROGRAMS=" ".join((*programs, *(("setpriv", "unshare") if self.simulated else ("flock",)))),
        )
        if pings:
            own = " && ".join(f"$({name} -V 2>&1) == *iputils*" for name in pings)
            yield from _filled(templates.IPUTILS, OF_IPUTILS=own, PINGS=" and ".join(pings))
        if self.simulated:
            yield from _filled(templates.ISOLATE)
        if self.plan.lab.has_ipvlan:
            yield from _filled(templates.IPVLAN)
        if self.simulated:
            yield from _filled(templates.ALONE, COMMANDS=commands)
        else:
            yield from self._undoing(commands)
        yield "good=0; declare -A lost=()"
        of_tcp = {probe.check.tcp is not None for probe in self.probes if isinstance(probe.check, Check)}
        if of_tcp:
            files = "/run" if self.simulated else "$work"
            unknown = templates.UNKNOWN if self.known < len(self.probes) else ""
            if False in of_tcp:
                no_route = "|".join(map(quoted, NO_ROUTE))
                values = {"WORK": files, "NO_ROUTE": no_route, "LOST_AFTER": str(LOST_AFTER)}
                yield from _filled(templates.CHECK, **values, UNKNOWN=unknown)
            if True in of_tcp:
                values = {"WORK": files, "CONNECTED": CONNECTED, "REFUSED": REFUSED, "ERRORS": ERRORS}
                yield from _filled(templates.TCP, **values, UNKNOWN=unknown.replace("$lived", "$error"))
        if any(isinstance(probe.check, Attempt) for probe in self.probes):
            refused = "seen=refused" if self.simulated else "{ seen=refused; gone; }"
            yield from _filled(templates.ATTEMPT, REFUSED=refused)

    def _undoing(self, commands: str) -> Iterator[str]:
        """Yield what a lab on a machine needs: a record of what it made, by which that is undone."""
        kinds = {_kind(undo.resource) for undo in self.undos.values()}
        cases = "\n".join(f"    {line}" for kind, line in templates.CASES.items() if kind in kinds)
        yield from _filled(templates.IDENTITY, LAB=self.plan.lab.name, CASES=cases)
        report = "\n".join(f"    {line}" for line in self._report())
        yield from _filled(templates.UNDO, REPORT=report, COUNT=str(self.known))
        yield from _filled(templates.START, TAKEN="\n".join(self._taken()))
        if self.tried:
            yield from _filled(templates.OURS)
        yield from _filled(templates.UNDOING, COMMANDS=commands)

    def _taken(self) -> Iterator[str]:
        """Yield the lines that note which of the names that the lab needs are taken."""
        made = dict.fromkeys(undo.resource for undo in self.undos.values())
        netns = [one.name for one in made if isinstance(one, Netns)]
        links = [one.name for one in made if isinstance(one, Link) and one.netns is None]
        yield from _each(netns, '[[ ! -e /run/netns/$name ]] || taken+=" netns $name"')
        yield from _each(links, '[[ -z $(identity ip link delete "$name") ]] || taken+=" link $name"')
        for one in made:
            if isinstance(one, Proxy | Route):
                yield f"[[ -z $(identity {undo_of(one)}) ]] || taken+={quoted(f' {one}')}"

    def _report(self) -> Iterator[str]:
        counts = f"$good of {self.known} as predicted" if self.probes else "nothing was checked"
        if unknown := len(self.probes) - self.known:
            counts += f", {unknown} not modelled"
        if skipped := sum(len(section.skipped) for section in self.plan.sections):
            counts += f", {skipped} skipped"
        yield from _filled(templates.REPORT, LAB=self.plan.lab.name, COUNTS=counts)

    # --- the lab ----------------------------------------------------------------------------------------

    def _section(self, section: Section) -> Iterator[str]:
        # Stages that batches do, all in the host's namespace or all in others, go together.
        for _, found in groupby(section.stages, self._place):
            stages = list(found)
            steps = [step for stage in stages for step in stage]
            if self._is_batch(stages[0]):
                yield from _batches(steps)
            elif any(step.probe is not None and step.probe.address is not None for step in steps):
                yield from self._checks(steps)
            else:
                yield from self._commands(steps)
        for probe in section.skipped:
            yield f"echo {quoted(f'skipped       {probe.check}: {probe.skipped}')} >&3"

    def _commands(self, steps: Sequence[Step]) -> Iterator[str]:
        """Yield the commands one after another, each with its purpose, and below its undo."""
        typed = [(self._typed(step), comment(step.purpose)) for step in steps]
        width = max((len(line) for line, why in typed if len(line) + len(why) < _WIDTH), default=0)
        for step, (line, why) in zip(steps, typed, strict=True):
            behind = line.ljust(width if width + len(why) < _WIDTH else 0)
            fits = len(behind) + len(why) < _WIDTH and not step.command.stdin
            lines = [f"{behind} {why}"] if fits else [why, line]
            if undo := self.undos.get(step.id):
                former = f'"${self.former[undo.reads]}"' if undo.reads else ""
                lines.insert(-1, f"undo {_line(undo.command())}{former}")
            if probe := step.probe:
                # What the kernel answered is compared with what was predicted.
                refused = [str(code) for code in step.command.ok if code not in (0, 2)]
                lines.append(_words("attempt", str(probe.check), probe.expected, probe.reason, *refused))
            if self.tried.isdisjoint(step.cancels_undo_of):
                yield from lines
            else:
                yield from (f"if ours {_line(step.command)}; then", *(f"  {each}" for each in lines), "fi")

    def _typed(self, step: Step) -> str:
        line = _line(step.command)
        if step.id in self.former:
            return f"{self.former[step.id]}=$({line})"
        if step.probe is not None:
            return f"{line} || code=$?"
        if step.command.stdin:
            return str(step.command)
        return line + "".join(f" || (($? == {code}))" for code in step.command.ok if code != 0)

    def _checks(self, steps: Sequence[Step]) -> Iterator[str]:
        """Yield the checks, which are concurrent, and then with what their results are compared."""
        asked: list[Probe] = []
        other, servers = 0, ""
        for step in steps:
            if step.ready is not None:
                server = f"server{servers.count('$') + 1}"
                servers += f' "${server}"'
                yield f"{_line(step.command)} & {server}=$! {comment(step.purpose)}"
                yield f'until [[ $({_line(step.ready)}) ]]; do kill -0 "${server}"; done; asked=()'
            elif step.probe is not None:
                asked.append(step.probe)
                file = f"/run/{len(asked)}" if self.simulated else f'"$work/{len(asked)}"'
                yield f"{_line(step.command)} &>{file} &{' asked+=($!)' if servers else ''}"
            else:
                other += 1
                yield f"{_line(step.command)} & other{other}=$! {comment(step.purpose)}"
        yield from (f'wait "$other{n}"' for n in range(1, other + 1))
        if servers:
            yield f'wait "${{asked[@]}}" || true; kill{servers} || true'
        yield "wait"
        for n, probe in enumerate(asked, 1):
            outcomes = "|".join(probe.outcomes)
            judge = "connected" if isinstance(probe.check, Check) and probe.check.tcp is not None else "check"
            yield _words(judge, str(n), str(probe.check), str(probe.address), outcomes, probe.reason)

    # --- in batches -------------------------------------------------------------------------------------

    def _is_batch(self, stage: Stage) -> bool:
        """Return whether `stage` goes into batches; on a machine each step with an undo is alone."""
        plain = all(step.probe is None and line_of(step.command) is not None for step in stage)
        return self.plan.lab.in_batches and plain and not any(step.id in self.undos for step in stage)

    def _place(self, stage: Stage) -> bool | Stage:
        """Return whether a batch acts in the host's namespace; `stage` itself where it has no one place."""
        lines = [line_of(step.command) for step in stage] if self._is_batch(stage) else []
        places = {line.netns is None for line in lines if line is not None}
        return places.pop() if len(places) == 1 else stage


def _batches(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the commands as the lines of batches, one for each namespace."""
    by_netns: dict[str | None, list[tuple[str, str]]] = {}
    for step in steps:
        if (line := line_of(step.command)) is not None:
            by_netns.setdefault(line.netns, []).append((line.text, step.purpose))
    for netns, found in by_netns.items():
        yield comment(_some(list(dict.fromkeys(purpose for _, purpose in found)), "; "))
        yield str(batch([text for text, _ in found], netns))


def _kind(resource: Resource) -> str:
    """Return under which of `CASES` a resource is known."""
    if isinstance(resource, Link):
        return "link" if resource.netns is None else "inside"
    return type(resource).__name__.lower()


def _each(names: Sequence[str], command: str) -> Iterator[str]:
    """Yield `command` for each of `names`; a loop over one name shellcheck takes for a mistake."""
    if len(names) == 1:
        # In quotes, since a name may be that of a command.
        yield f"name='{names[0]}'; {command}"
    elif names:
        yield f"for name in {' '.join(names)}; do {command}; done"


def _some(texts: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(texts) - _MOST_PURPOSES} more" if len(texts) > _MOST_PURPOSES else ""
    return separator.join(texts[:_MOST_PURPOSES]) + more


def _filled(template: str, **values: str) -> Iterator[str]:
    """Yield the lines of `template` with its words in capitals replaced."""
    pattern = "|".join(values) or "$^"
    yield from re.sub(pattern, lambda found: values[found[0]], template).strip("\n").split("\n")


def _line(command: Command) -> str:
    """Return `command` as the preview has it; a word that could be one of bash's own is quoted."""
    return " ".join(f"'{word}'" if word in _KEYWORDS else shlex.quote(word) for word in command.argv)


def _words(*words: str) -> str:
    return " ".join(map(quoted, words))


def quoted(text: str) -> str:
    """Return `text` as one word for bash, in the quotes that are easier to read."""
    if not set(text) & set("'$`"):
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def comment(text: str) -> str:
    """Return `text` as one line of comment, whatever it has in it."""
    return f"# {' '.join(text.split())}"
