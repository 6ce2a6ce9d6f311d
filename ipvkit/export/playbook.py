"""The playbook of a lab: its commands as Ansible tasks, each on its host, checked, and undone at the end."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import chain, count
from typing import Any

import yaml

from ipvkit import __version__
from ipvkit.core.command import Command
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.export.preview import on
from ipvkit.export.script import NO_ROUTE, comment
from ipvkit.lab import FAR, LOST_AFTER, PEERS, Attempt, Check, Lab, Outcome, Phase, on_its_hosts, with_devices
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import LINKS, NETNS, PROXIES, ROUTES, VIEWS, Link, Netns, Proxy, Route, is_new
from ipvkit.plan.steps import Plan, Probe, Step

Task = dict[str, Any]
"""A task, or a part of one, as it is in YAML."""

TARGET = "target"
"""The variable that names the host of a lab with one."""

_WIDTH = 120
_LONGEST = 100
_HINT = "run-lab and export-script do it, on a simulated LAN"
_ONE_HOST = f"--extra-vars {TARGET}=NAME names the host, by default this machine"
_WHAT = (
    "It creates the endpoints, checks who reaches whom, compares that with the prediction, and undoes all, "
    "also after a failure. With --check it changes nothing."
)
_VALUES = (
    "Edit `parents` and `addresses`, or replace them with --extra-vars: every command follows. Predictions "
    "are for the addresses that the lab has, so write another playbook where a subnet is another one."
)

_READ: Task = {"changed_when": False, "check_mode": False}
"""Of a command that changes nothing, and so runs with --check too."""


class _Flow(list[str]):
    """A list that is written on one line where it fits."""


class _Text(str):
    """A text in which Ansible finds no variables, whatever it is."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes the items of a list further in than its key, as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Begin a list or a mapping."""
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, _: object) -> bool:
        """Write each value where it is."""
        return True


def _words(dumper: _Dumper, words: _Flow) -> yaml.Node:
    """Write words in one line where they fit, also in quotes: ansible-lint takes no other."""
    length = sum(len(word) + (2 if word.isalpha() else len(", ''")) for word in words)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", words, flow_style=length <= _LONGEST)


_Dumper.add_representer(_Flow, _words)
_Dumper.add_representer(_Text, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value)))


def playbook(lab: Lab) -> str:
    """Return the playbook of `lab` for hosts that have its parents, on a LAN that is there.

    Raise UsageError for what a playbook cannot do.
    """
    try:
        # Its tasks run one after another, and so do its checks.
        there = on_its_hosts(replace(lab, parallel=1))
    except InvalidLab as problem:
        hint = _HINT if "--parent" in problem.hint else problem.hint
        raise UsageError(f"a playbook is for real hosts: {problem.message}", hint) from None
    for phase in there.phases:
        _refuse_two_at_once(there, phase)
    variables = _variables_of(there)
    plan = make_plan(with_devices(there, variables.devs))
    return "\n".join(_Playbook(there, plan, variables).lines()) + "\n"


def _refuse_two_at_once(lab: Lab, phase: Phase) -> None:
    """Raise UsageError for a check during which something else runs: a server, or announcements."""
    for check in (check for act in phase.acts for check in act.checks):
        ends = (lab.endpoint(end) for end in (check.source, check.destination) if lab.is_endpoint(end))
        announced = any(helper.announces for end in ends for helper in phase.on(end.parent).helpers)
        if check.tcp is not None or (check.watch is not None and announced):
            what = "a server" if check.tcp is not None else "an announcement"
            raise UsageError(f"a playbook runs one command at a time, and {check} needs {what} beside", _HINT)


# --- variables --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Variables:
    """The devices of parents, and the addresses, by the names that they have in the playbook's variables.

    `devs` are the names of the devices in the plan, which occur nowhere else, by the names of parents.
    `words` are the words of commands that have an address, with the variable in its place.
    """

    parents: Mapping[str, str]
    addresses: Mapping[str, str]
    devs: Mapping[str, str]
    words: Mapping[str, str]

    def word(self, text: str) -> str:
        """Return a word of a command with variables in place of their values."""
        if text in self.words:
            return self.words[text]
        for name, dev in self.devs.items():
            parent = _item("parents", name)
            # In the name of a sysctl a dot of a device is a slash (sysctl(8)).
            part = f'{parent} | replace(".", "/")'
            text = f"{{{{ {parent} }}}}" if text == dev else text.replace(dev, f"{{{{ {part} }}}}")
        return text

    def argv(self, command: Command) -> Task:
        """Return the module that runs `command`."""
        return {"ansible.builtin.command": {"argv": _Flow(map(self.word, command.argv))}}

    def text(self, text: str) -> str:
        """Return a text with the names of devices that the lab has."""
        for name, dev in self.devs.items():
            own = self.parents[name]
            # In the name of a sysctl a dot of a device is a slash (sysctl(8)).
            text = text.replace(f".{dev}", f".{own.replace('.', '/')}").replace(dev, own)
        return text


def _variables_of(lab: Lab) -> _Variables:
    written = repr(lab)
    stem = next(stem for stem in (f"dev{number}+" for number in count()) if stem not in written)
    addresses: dict[str, str] = {}
    words: dict[str, str] = {}
    for role, value in _addresses(lab):
        name = next(n for n in chain([role], (f"{role} {i}" for i in count(2))) if n not in addresses)
        address, slash, _ = value.partition("/")
        if address in words:
            continue
        addresses[name] = value
        variable = _item("addresses", name)
        plain = f"""{{{{ {f'{variable}.split("/")[0]' if slash else variable} }}}}"""
        # A route to it alone.
        host = str(ip_network(address))
        words |= {host: plain + host.removeprefix(address), address: plain, value: f"{{{{ {variable} }}}}"}
    return _Variables(
        {parent.name: parent.dev for parent in lab.parents},
        addresses,
        {parent.name: f"{stem}{i}+" for i, parent in enumerate(lab.parents)},
        words,
    )


def _addresses(lab: Lab) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the nodes that commands name, each after its node."""
    for endpoint in lab.endpoints:
        yield from ((endpoint.name, str(own)) for own in endpoint.addresses)
    for parent in lab.parents:
        yield from ((parent.on, str(own)) for own in parent.host)
        for phase in lab.phases:
            own_ones = lab.shim_addresses(phase.on(parent.name), parent)
            yield from ((lab.shim_on(parent), str(own)) for own in own_ones)
    for parent in lab.networks:
        yield from ((role, str(own)) for role in PEERS for own in parent.peer(role))
        yield from ((host.name, str(own.ip)) for host in parent.hosts for own in host.addresses)
    yield from ((FAR, str(own.ip)) for own in lab.far)


def _item(variable: str, name: str) -> str:
    return f"{variable}[{json.dumps(name)}]"


# --- the playbook -----------------------------------------------------------------------------------------


class _Playbook:
    def __init__(self, lab: Lab, plan: Plan, variables: _Variables) -> None:
        self.lab, self.plan, self.variables = lab, plan, variables
        self.several = lab.several_hosts
        self.steps = list(plan.steps)
        self.names = {step.id: f"step_{number}" for number, step in enumerate(self.steps, 1)}
        self.made = [(step.on, step.undo.resource) for step in self.steps if step.undo is not None]
        self.read = {step.undo.reads for step in self.steps if step.undo is not None}
        self.tried = {step.id for step in self.steps if step.undo and step.command.ok != (0,)}
        self.undone_by: dict[str, list[str]] = {}
        for step in self.steps:
            for id in step.cancels_undo_of:
                self.undone_by.setdefault(id, []).append(step.id)

    def lines(self) -> Iterator[str]:
        tasks = list(self._tasks())
        text = "\n".join(tasks)
        used = {n: own for n, own in self.variables.addresses.items() if _item("addresses", n) in text}
        yield "---"
        yield from self._about()
        play = {
            "name": f"Lab {self.lab.name}",
            "hosts": list(self.lab.hosts) if self.several else f'{{{{ {TARGET} | default("localhost") }}}}',
            "gather_facts": False,
            "become": True,
            # On a failure all hosts go on with what undoes their part.
            "any_errors_fatal": True,
            "environment": {"LC_ALL": "C"},
            "vars": {"parents": dict(self.variables.parents), "addresses": used},
        }
        yield from _written([play], 0)
        yield "  tasks:"
        yield from tasks

    def _about(self) -> Iterator[str]:
        lab, skipped = self.lab, [probe for section in self.plan.sections for probe in section.skipped]
        hosts = "the inventory has the hosts " + ", ".join(lab.hosts) if self.several else _ONE_HOST
        texts = [
            f"Lab {lab.name}: {lab.about}",
            f"Written by ipvkit {__version__}. {_WHAT}",
            f"Before a run: {hosts}; they have the devices in `parents`, and Python.",
            _VALUES,
            *(f"skipped: {probe.check}: {probe.skipped}" for probe in skipped),
        ]
        for text in texts:
            yield from map(comment, textwrap.wrap(self.variables.text(text), 116, break_on_hyphens=False))

    # --- tasks ------------------------------------------------------------------------------------------

    def _tasks(self) -> Iterator[str]:
        """Yield the lines of all tasks."""
        yield from _written(self._before(), 4)
        yield from ("    - name: Build and check, and undo it", "      block:")
        for section in self.plan.sections:
            yield f"        {comment(f'--- {section.title}')} ".ljust(100, "-").rstrip()
            yield from _written((self._of(step) for stage in section.stages for step in stage), 8)
        yield from _written(self._compare(), 8)
        yield "      always:"
        yield from _written(self._undo(), 8)

    def _before(self) -> Iterator[Task]:
        """Yield what refuses hosts on which the lab cannot begin; nothing has been changed by then."""
        there = "ansible_play_hosts_all"
        right = [f'"{host}" in {there}' for host in self.lab.hosts]
        right = right if self.several else [f"{there} | length == 1"]
        message = f'the hosts are {{{{ {there} | join(", ") }}}}'
        yield _assert("Check that the hosts are those of the lab", right, message)
        yield from self._refuse_names(NETNS, "name", Netns)
        yield from self._refuse_names(LINKS, "ifname", Link)
        yield from self._refuse_entries(ROUTES, Route)
        yield from self._refuse_entries(PROXIES, Proxy)

    def _refuse_names(self, view: str, key: str, kind: type[Netns | Link]) -> Iterator[Task]:
        """Yield what refuses the names of namespaces, or of links of a host, that are in use."""
        found = [(host, made.name) for host, made in self.made if isinstance(made, kind) and is_new(made)]
        if not found:
            return
        yield self._look(view)
        new = {host: _Flow(dict.fromkeys(n for at, n in found if at == host)) for host in self.lab.hosts}
        names, mine = (
            (new, "names[inventory_hostname]") if self.several else (new[self.lab.hosts[0]], "names")
        )
        used = f'{{{{ {mine} | intersect({_seen(view)} | map(attribute="{key}") | list) }}}}'
        message = 'in use: {{ used | join(", ") }}'
        task = _assert(f"Refuse {_VIEWED[view]} that are in use", ["used | length == 0"], message)
        yield {**task, "vars": {"names": names, "used": used}}

    def _refuse_entries(self, view: str, kind: type[Route | Proxy]) -> Iterator[Task]:
        """Yield what refuses routes or proxy entries of a host that are there already."""
        found = []
        for host, made in ((host, made) for host, made in self.made if isinstance(made, kind)):
            to = made.address if isinstance(made, Proxy) else made.dst
            # As ip shows one to a single address.
            dst = str(to).removesuffix(f"/{to.max_prefixlen}")
            entry = {"dst": self.variables.word(dst), "dev": self.variables.word(made.dev)}
            found.append({"on": host, **entry} if self.several else entry)
        if not found:
            return
        yield self._look(view)
        of_main = 'rejectattr("table", "defined") | selectattr("dev", "defined")'
        same = 'selectattr("dst", "eq", item.dst) | selectattr("dev", "eq", item.dev)'
        none = f"{_seen(view)} | {of_main} | {same} | list | length == 0"
        yield {
            **_assert(f"Refuse {_VIEWED[view]} that are there", [none], "{{ item.dst }} is in use"),
            "loop": found,
            **({"when": "item.on == inventory_hostname"} if self.several else {}),
        }

    def _look(self, view: str) -> Task:
        command = self.variables.argv(VIEWS[view])
        return {
            "name": f"Show the {_VIEWED[view]} that are there",
            **command,
            "register": f"{view}_seen",
            **_READ,
        }

    def _of(self, step: Step) -> Task:
        """Return the task of `step`."""
        name, probe, ok = self.names[step.id], step.probe, list(step.command.ok)
        task = {"name": self._title(step, step.purpose), **self.variables.argv(step.command)}
        if step.undo or step.cancels_undo_of or probe or step.id in self.read:
            task["register"] = name
        if step.id in self.read:
            return {
                **task,
                **_READ,
                "failed_when": f'{name}.stdout is not match("-?[0-9]+$")',
                **self._when(step),
            }
        changes = step.command.argv[0] != "sleep" and not (probe and isinstance(probe.check, Check))
        task["changed_when"] = f"{name}.rc == 0" if ok != [0] and changes else changes
        if ok != [0]:
            task["failed_when"] = f"{name}.rc not in {ok}"
        # What was refused is not deleted: that would belong to another user.
        tried = [self._is_done(id) for id in step.cancels_undo_of if id in self.tried]
        return task | self._when(step, *([" or ".join(tried)] if tried else []))

    def _undo(self) -> Iterator[Task]:
        """Yield what undoes each step that was done and that no other has undone, the last one first."""
        names: list[str] = []
        for step in reversed(self.steps):
            if step.undo is not None:
                names.append(f"undo_{len(names) + 1}")
                reads = step.undo.reads
                former = f"{{{{ {self.names[reads]}.stdout }}}}" if reads else ""
                undone = (self._is_done(id, "!=") for id in self.undone_by.get(step.id, ()))
                yield {
                    "name": self._title(step, f"undo: {step.undo.purpose or step.purpose}"),
                    **self.variables.argv(step.undo.command(former)),
                    "register": names[-1],
                    "changed_when": True,
                    # What else there is to undo is undone too.
                    "ignore_errors": True,
                    **self._when(step, self._is_done(step.id), *undone),
                }
        succeeded = [f"{name} is not failed" for name in names]
        yield _assert(
            "Check that all is undone", succeeded, "not all is undone: the output shows what failed"
        )

    def _is_done(self, id: str, is_: str = "==") -> str:
        """Return the condition that a step was done on this host, or with != was not."""
        return f"{self.names[id]}.rc | default(1) {is_} 0"

    def _when(self, step: Step, *conditions: str) -> Task:
        """Return when a task runs: on its host, and under `conditions`."""
        host = (f'inventory_hostname == "{step.on}"',) if self.several else ()
        every = [*host, *conditions]
        return {"when": every[0] if len(every) == 1 else every} if every else {}

    def _title(self, step: Step, purpose: str) -> str:
        text = self.variables.text(f"{on(self.plan, step)}{purpose}")
        return f"{text[0].upper()}{text[1:]}"

    # --- results ----------------------------------------------------------------------------------------

    def _compare(self) -> Iterator[Task]:
        """Yield what compares each try and ping with its prediction, all of them before it fails."""
        results = [self._result(step, step.probe) for step in self.steps if step.probe is not None]
        if not results:
            return
        kinds = {result["kind"] for result in results}
        seen = _OF_WATCHED_PING if _WATCH in kinds else _OF_PING
        seen = f'({_OF_TRY}) if item.kind == "{_TRY}" else {seen}' if _TRY in kinds else seen
        message = 'predicted {{ item.expected | join(" or ") }}, observed {{ seen }}: {{ item.why }}'
        expected = f'seen in item.expected or item.expected == ["{Outcome.NOT_MODELLED}"]'
        task = _assert("Compare what happened with the predictions", [expected], message)
        task["ansible.builtin.assert"]["success_msg"] = message
        yield {
            **task,
            "loop": results,
            "loop_control": {"label": "{{ item.check }}"},
            # Those of other hosts are, and all with --check.
            "when": "result is not skipped",
            "vars": {
                "result": '{{ lookup("ansible.builtin.vars", item.step) }}',
                "out": "{{ result.stdout }}",
                "no_route": list(NO_ROUTE),
                "seen": f"{{{{ {seen} }}}}",
            },
        }

    def _result(self, step: Step, probe: Probe) -> Task:
        check, why = probe.check, self.variables.text(probe.reason)
        kind = _TRY if isinstance(check, Attempt) else _PING if check.watch is None else _WATCH
        return {
            "check": self.variables.text(str(check)),
            "kind": kind,
            "expected": _Flow(map(str, probe.outcomes)),
            # A lab's own words may have braces.
            "why": _Text(why) if "{" in why else why,
            "step": self.names[step.id],
        }


_VIEWED = {NETNS: "namespaces", LINKS: "links", ROUTES: "routes", PROXIES: "proxy entries"}

_TRY, _PING, _WATCH = "try", "ping", "watch"
_OF_TRY = '"accepted" if result.rc == 0 else "refused"'
_LOST = (
    '"unreachable" if ", 0 received" in out or no_route | select("in", result.stderr) | list | length > 0 '
    'else "not understood: " ~ out ~ result.stderr if "packets transmitted" not in out else '
)
_OF_PING = f'{_LOST}"reachable"'
_OF_WATCHED_PING = (
    f'{_LOST}"expires" if item.kind == "{_WATCH}" and (" errors, " in out or '
    'out | regex_findall("([0-9]+) packets transmitted") | first | int - '
    f'out | regex_findall("bytes from .* icmp_seq=([0-9]+)") | last | int >= {LOST_AFTER}) else "reachable"'
)
"""What a try, a ping, and one that may be watched, observed."""


def _assert(name: str, conditions: Iterable[str], message: str) -> Task:
    """Return a task that fails with `message` unless all conditions hold."""
    return {"name": name, "ansible.builtin.assert": {"that": list(conditions), "fail_msg": message}}


def _seen(view: str) -> str:
    """Return the expression for what a view showed; ip may print nothing where nothing is."""
    return f'({view}_seen.stdout | default("[]", true) | from_json)'


def _written(value: Iterable[Task], indentation: int) -> Iterator[str]:
    """Yield the lines of a list of plays or tasks."""
    for each in value:
        width = _WIDTH - indentation
        text = yaml.dump([each], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
        yield from textwrap.indent(text, " " * indentation).splitlines()
