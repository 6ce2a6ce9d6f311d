"""From a Plan to bash: the only writer of shell syntax.

The body, one `step` a command, is the same in the script that a person exports and in the payload that
a target runs. They differ in what is told of it: the script prints lines for a person, the payload frames
for `read_frames`. The preview has the same lines with no shell around them.
"""

import re
import shlex
import textwrap
from collections.abc import Iterator
from itertools import pairwise

from ipvkit import __version__
from ipvkit.core.command import Command
from ipvkit.export import bash
from ipvkit.lab import BATCH_FROM, Attempt
from ipvkit.plan.resources import Link, Netns, Proxy, Route, Sysctl
from ipvkit.plan.steps import Plan, Probe, Section, Step
from ipvkit.tools.ip import LINES_A_S

BASH_NEEDED = "5.1"

NO_ROUTE = "Network is unreachable"
"""What ping says, and exits with 2, where its own host has no route."""

LOST_AFTER = 5
"""A watched path is lost when the last that many requests, or more, had no reply, or ping said so."""

HANGS_AFTER_S = 10
"""How long a command may take: one that is no probe takes milliseconds."""

SIDE_BY_SIDE = 32
"""How many commands of a stage go on while another one is started, or as many as there are pings in one."""

_MARGIN_S = 4
"""How much longer a probe may take than its own options say."""

_USERS_PATH = "$PATH:/usr/local/sbin:/usr/sbin:/sbin"
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def preview(plan: Plan) -> str:
    """Return what would run, one command a line as typed, grouped under its purposes."""
    lines = [f"# lab {plan.lab.name}: {plan.lab.about}"]
    for section in plan.sections:
        lines += ["", f"# ==== {section.title} ===="]
        for stage in section.stages:
            lines += ["", f"# side by side, {len(stage)} commands:"] if len(stage) > 1 else [""]
            for step in stage:
                lines += [f"# {step.purpose}", str(step.command)]
        lines += [f"# skipped: ping {probe.check}: {probe.skipped}" for probe in section.skipped]
    lines += ["", "# ==== undo, in reverse ===="]
    undos = {step.id: step.undo for step in plan.undos if step.undo is not None}
    for undo in undos.values():
        if undo.reads:
            lines.append(f"# with the value that was read before, here {undo.typical}")
        lines.append(str(undo.completed(undo.typical)))
    return "\n".join(lines) + "\n"


def exported(plan: Plan) -> str:
    """Return the whole lab as a bash script that needs neither ipvkit nor Python."""
    parts = [
        "#!/usr/bin/env bash",
        _comment(f"Lab {plan.lab.name}: {plan.lab.about}"),
        "#",
        f"# Written by ipvkit {__version__}. Needs bash {BASH_NEEDED} and {', '.join(plan.programs)}; "
        "neither ipvkit nor Python.",
        "#",
        *map(_comment, _what_it_does(plan)),
        "#",
        *map(_comment, _exit_codes(plan)),
        "",
        "set -u",
        f"export LC_ALL=C PATH={_USERS_PATH if plan.lab.simulated else _ROOTS_PATH}",
        "",
        _requirements(plan),
        *([bash.ISOLATE] if plan.lab.simulated else []),
        *([bash.IPVLAN_NEEDED] if plan.lab.has_ipvlan else []),
        _core(plan).strip("\n"),
        _filled(bash.FOR_A_PERSON),
        *([] if plan.lab.simulated else [_on_this_machine(plan)]),
        "",
        _body(plan, for_a_person=True),
        "finish 0",
    ]
    return "\n".join(parts) + "\n"


def _body(plan: Plan, *, for_a_person: bool) -> str:
    lines: list[str] = []
    for section in plan.sections:
        lines += [f"{_comment(f'--- {section.title}')} ".ljust(101, "-"), ""]
        lines += _section(section, for_a_person=for_a_person, simulated=plan.lab.simulated)
    return "\n".join(lines)


def _section(section: Section, *, for_a_person: bool, simulated: bool) -> Iterator[str]:
    if for_a_person:
        for probe in section.skipped:
            yield f"tell 'skip  %s\\n' {_quoted(f'{probe.check}: {probe.skipped}')}"
        if section.skipped:
            yield ""
    for stage in section.stages:
        for step in stage:
            yield _comment(step.purpose)
            if "do" in step.command.argv:
                yield "# shellcheck disable=SC1010  # do is a word of ping's"
            yield from _step(step)
            if for_a_person:
                yield from _more(step, simulated=simulated)
        yield "run"
        yield ""


def _step(step: Step) -> Iterator[str]:
    yield f"step {_quoted(step.id)} {step.command}"
    if step.command.ok != (0,):
        yield f"with accept {' '.join(str(code) for code in step.command.ok)}"
    if step.undo is not None:
        yield f"with undo {step.undo.command}"
        if step.undo.reads:
            yield f"with reads {_quoted(step.undo.reads)}"
    if step.cancels_undo_of:
        yield f"with settle {' '.join(map(_quoted, step.cancels_undo_of))}"


def _more(step: Step, *, simulated: bool) -> Iterator[str]:
    """Yield what only a script needs to be told of a step: the payload's target and engine know it."""
    if not simulated and (made := _made(step)):
        yield f"with makes {' '.join(map(_quoted, made))}"
    if (bound := _longest_s(step.command) + _MARGIN_S) > HANGS_AFTER_S:
        yield f"with bound {bound}"
    if step.probe is not None:
        yield f"with {' '.join(map(_quoted, _asked(step.probe)))}"


def _made(step: Step) -> tuple[str, ...]:
    """Return what `step` makes on this machine, in the words of `exists` in the script."""
    effect = None if step.undo is None else step.undo.effect
    match effect:
        case Netns(name):
            return "netns", name
        case Link(name, _, None):
            return "link", name
        case Link(name, _, netns):
            return "link", name, "in", str(netns)
        case Sysctl(key, value):
            return "sysctl", key, "is", str(value)
        case Proxy(address, dev):
            return "proxy", str(address), "on", dev
        case Route(dst, dev):
            return "route", str(dst), "by", dev
    return ()


def _longest_s(command: Command) -> int:
    """Return how many seconds `command` takes at most: it sends once a second at least, or reads lines."""
    bounds = [value for option, value in pairwise(command.argv) if option in ("-c", "-w", "sleep")]
    return max((int(value) for value in bounds if value.isdecimal()), default=len(command.stdin) // LINES_A_S)


def _asked(probe: Probe) -> Iterator[str]:
    check = probe.check
    if isinstance(check, Attempt):
        yield from ("try", str(check), probe.expected, probe.reason)
        return
    yield "check"
    destination = str(check).removeprefix(f"{check.source} -> ")
    yield from (check.source, destination, str(probe.address), probe.expected, probe.reason)
    if check.watch is not None:
        yield "watch"


def _quoted(text: str) -> str:
    """Return `text` as one word for bash; what a reader could take for an expansion is marked as none."""
    if not set(text) & set("$`"):
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def _comment(text: str) -> str:
    """Return `text` as one line of comment, whatever it has in it."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    return f"# {indent}{' '.join(text.split())}"


def _requirements(plan: Plan) -> str:
    more = ("unshare", "mount") if plan.lab.simulated else ("flock", "mkdir", "cp", "rm")
    programs = " ".join(map(_quoted, (*plan.programs, "setpriv", "timeout", *more)))
    rights = "" if plan.lab.simulated else bash.ROOT_ONLY
    own = "\n".join(bash.OF_IPUTILS.format(name) for name in ("ping", "arping") if name in plan.programs)
    return f"""\
cannot() {{
  printf 'error: %s\\nhint: %s\\n' "$1" "$2" >&2
  exit 3
}}
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
  cannot "bash $BASH_VERSION is too old" 'use bash {BASH_NEEDED}'
for program in {programs}; do
  type -P "$program" >/dev/null ||
    cannot "$program is not installed" 'apt install iproute2 iputils-ping iputils-arping procps'
done
{own}
{rights}"""


def _on_this_machine(plan: Plan) -> str:
    things = dict.fromkeys(made for step in plan.steps if (made := _made(step)))
    # What is in a namespace of the lab's own cannot be there before.
    free = [
        f"  free {' '.join(map(_quoted, made))}"
        for made in things
        if made[0] != "sysctl" and "in" not in made
    ]
    text = _filled(bash.ON_THIS_MACHINE)
    return text.replace("THE_LAB", _quoted(plan.lab.name)).replace("THE_THINGS", "\n".join(free))


def _core(plan: Plan) -> str:
    probes = (sum(step.probe is not None for step in stage) for stage in plan.stages)
    at_once = max([SIDE_BY_SIDE, *probes])
    return _filled(bash.CORE.replace("SIDE_BY_SIDE", str(at_once)))


def _filled(template: str) -> str:
    values = {
        "BATCH_FROM": BATCH_FROM,
        "HANGS_AFTER": HANGS_AFTER_S,
        "LINES_A_S": LINES_A_S,
        "LOST_AFTER": LOST_AFTER,
        "NO_ROUTE": NO_ROUTE,
    }
    return re.sub("|".join(values), lambda found: str(values[found[0]]), template).rstrip("\n")


def _what_it_does(plan: Plan) -> Iterator[str]:
    yield "What it does to this machine:"
    if plan.lab.simulated:
        yield "  - all of it happens in a new network namespace and a new mount namespace, which end with"
        yield "    this script: the machine's own network, namespaces and files are not touched"
        yield "  - at the end, on a failure and on ^C it undoes what it did, in reverse"
        return
    names = ", ".join(endpoint.netns for endpoint in plan.lab.endpoints)
    kinds = " and ".join(sorted({phase.setting.kind for phase in plan.lab.phases}))
    yield f"  - makes the network namespaces {names}, and {kinds} links on {plan.lab.parent} in them"
    yield f"  - sends pings, and gratuitous ARP where a phase announces, out of {plan.lab.parent}"
    for step in plan.steps:
        if step.undo is not None and step.undo.reads:
            yield f"  - types `{step.command}`, and puts the former value back"
    yield "  - changes nothing if a name that it needs is taken, and tells of each"
    yield "  - at the end, on a failure and on a signal it undoes what it did, in reverse"
    yield f"  - keeps a record in /run/ipvkit-script-{plan.lab.name} meanwhile: if this script is killed,"
    yield "    `bash lab.sh --undo` undoes from it what was done, and nothing else"


def _exit_codes(plan: Plan) -> list[str]:
    refused = "" if plan.lab.simulated else "2 refused and nothing changed, "
    text = (
        f"Exit codes: 0 all as predicted, 1 a check came out otherwise, {refused}3 this machine cannot, "
        "4 a command failed and what was done has been undone, 130 interrupted and undone."
    )
    return textwrap.wrap(text, 100)
