"""Playbooks: the plan's commands in its order, each on its host, what they undo, and a real run."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from ipvkit.core.command import Completed
from ipvkit.core.errors import UsageError
from ipvkit.export.playbook import playbook
from ipvkit.export.script import NO_ROUTE
from ipvkit.lab import LOST_AFTER, Act, Check, Lab, Outcome, Setting, gallery, on_its_hosts
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Step
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import judge
from ipvkit.verbs.formats import exported
from namespaces import AS_ROOT
from ping_output import lost_at_the_end, ping_reports, printed
from recorder import answered, unanswered, watched_to_its_end
from requires import requires
from several_hosts import labs_of_hosts
from strategies import labs

Task = dict[str, Any]

COMMAND, ASSERT = "ansible.builtin.command", "ansible.builtin.assert"


class Loader(yaml.SafeLoader):
    """Reads texts in which Ansible finds no variables as plain ones."""


class Plain(str):
    """Such a text."""

    __slots__ = ()


def plain(loader: Loader, node: yaml.ScalarNode) -> Plain:
    """Return such a text."""
    return Plain(loader.construct_scalar(node))


Loader.add_constructor("!unsafe", plain)


def play_of(text: str) -> Task:
    """Return the one play of a playbook."""
    (play,) = yaml.load(text, Loader)  # noqa: S506, it is a SafeLoader
    assert isinstance(play, dict)
    return play


def parts(play: Task) -> tuple[list[Task], list[Task], list[Task]]:
    """Return the tasks before the block of a play, in it, and those that are always run."""
    *before, block = play["tasks"]
    return before, block["block"], block["always"]


def rendered(word: str, play: Task, former: str = "7") -> str:
    """Return a word of a command with the play's values, by the four expressions that there may be."""

    def value(found: re.Match[str]) -> str:
        expression = found[1]
        if re.fullmatch(r"step_\d+\.stdout", expression):
            return former
        name, more = re.fullmatch(r'(\w+\["[^"]+"\])(.*)', expression).groups()  # type: ignore[union-attr]
        variable, _, key = name.partition("[")
        text = str(play["vars"][variable][key[1:-2]])
        does = {
            "": text,
            '.split("/")[0]': text.split("/")[0],
            ' | replace(".", "/")': text.replace(".", "/"),
        }
        return does[more]

    return re.sub(r"\{\{ (.*?) \}\}", value, word)


def argv_of(task: Task, play: Task) -> tuple[str, ...]:
    """Return the argv of a task."""
    return tuple(rendered(word, play) for word in task[COMMAND]["argv"])


def host_of(task: Task, lab: Lab) -> str:
    """Return the only host on which a task runs."""
    whens = task.get("when", [])
    for when in [whens] if isinstance(whens, str) else whens:
        if found := re.fullmatch(r'inventory_hostname == "(.+)"', when):
            return found[1]
    return lab.hosts[0]


def there(lab: Lab) -> Plan:
    """Return the plan that a playbook of `lab` runs."""
    return make_plan(on_its_hosts(replace(lab, parallel=1)))


def without_refused(lab: Lab) -> Lab:
    """Return `lab` with little in it that playbooks refuse: else most generated labs would be left out."""

    def setting(of: Setting) -> Setting:
        return replace(of, strategy="none") if of.strategy == "static-neigh" else of

    def act(of: Act) -> Act:
        checks = tuple(check for check in of.checks if check.tcp is None)
        return replace(of, checks=checks, move=(), down=())

    phases = tuple(
        replace(
            phase,
            setting=setting(phase.setting),
            others=tuple((parent, setting(other)) for parent, other in phase.others),
            acts=tuple(map(act, phase.acts)),
        )
        for phase in lab.phases
    )
    return replace(lab, phases=phases)


LABS = (labs(real=True) | labs_of_hosts()).map(without_refused)


def written(lab: Lab) -> str:
    """Return the playbook of a lab; the example does not count where there is none."""
    try:
        return playbook(lab)
    except UsageError as problem:
        assume(False)
        raise AssertionError from problem


@pytest.mark.long
@given(LABS)
def test_a_playbook_is_the_commands_of_the_plan_in_order_each_on_its_host(lab: Lab) -> None:
    play, plan = play_of(written(lab)), there(lab)
    _, block, always = parts(play)
    run = [task for task in block if COMMAND in task]
    assert [(argv_of(t, play), host_of(t, lab)) for t in run] == [(s.command.argv, s.on) for s in plan.steps]
    assert [t["name"].lower().removeprefix(f"on {s.on}: ") for t, s in zip(run, plan.steps, strict=True)] == [
        step.purpose.lower() for step in plan.steps
    ]
    undone = [task for task in always if COMMAND in task]
    assert [(argv_of(t, play), host_of(t, lab)) for t in undone] == [
        (step.undo.command("7").argv, step.on) for step in reversed(list(plan.steps)) if step.undo
    ]
    assert play["hosts"] == (list(lab.hosts) if len(lab.hosts) > 1 else '{{ target | default("localhost") }}')


@given(LABS)
def test_a_check_is_compared_with_each_outcome_that_is_predicted(lab: Lab) -> None:
    play, plan = play_of(written(lab)), there(lab)
    found = [item for task in parts(play)[1] if ASSERT in task for item in task["loop"]]
    steps = {task["register"]: task for task in parts(play)[1] if "register" in task}
    probes = {argv: probe for s in plan.steps if (probe := s.probe) for argv in [(s.id, s.command.argv)]}
    assert sorted(i["check"] for i in found) == sorted(str(probe.check) for probe in probes.values())
    by_order = [steps[item["step"]] for item in found]
    compared = {
        (argv_of(task, play), item["check"], *item["expected"], item["why"])
        for task, item in zip(by_order, found, strict=True)
    }
    assert compared == {
        (argv, str(p.check), *map(str, p.outcomes), p.reason) for (_, argv), p in probes.items()
    }


@given(LABS, st.text("{}%#'\"\\ :!&*ä🙂", min_size=1).map(str.strip))
def test_texts_of_a_lab_stay_texts(lab: Lab, text: str) -> None:
    assume(text)
    odd = Check(lab.endpoints[0].name, "gateway", expect=Outcome.EXPIRES, why=text, watch=5)
    phase = replace(lab.phases[0], acts=(Act(checks=(odd,)),))
    try:
        lab = replace(lab, about=text, phases=(phase,))
    except UsageError:
        assume(False)
    play = play_of(written(lab))
    found = [item for task in parts(play)[1] if ASSERT in task for item in task["loop"]]
    # It may be skipped.
    assume(found)
    (item,) = found
    assert text in item["why"]
    assert isinstance(item["why"], Plain) or "{" not in text
    for task in [*play["tasks"], *parts(play)[1], *parts(play)[2]]:
        assert "{" not in task["name"]


# --- what is undone ---------------------------------------------------------------------------------------


def holds(task: Task, codes: dict[str, int]) -> bool:
    """Return whether a task runs on its host after steps that ended with `codes`."""

    def done(condition: str) -> bool:
        step, is_ = re.fullmatch(r"(step_\d+)\.rc \| default\(1\) (==|!=) 0", condition).groups()  # type: ignore[union-attr]
        return (codes.get(step, 1) == 0) is (is_ == "==")

    whens = task.get("when", [])
    own = [w for w in ([whens] if isinstance(whens, str) else whens) if "inventory_hostname" not in w]
    return all(any(map(done, when.split(" or "))) for when in own)


def refused_first(plan: Plan) -> dict[str, int]:
    """Return how steps end whose command may be refused, where each first one is."""
    tries = [step for step in plan.steps if step.command.ok != (0,) and step.undo is not None]
    return {step.id: 2 for step in tries[::2]}


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["walkthrough", "macvlan-conflict", "l3s-proxy", "move", "two-hosts-l3-routed"]
)
def test_after_a_failure_at_any_step_that_is_undone_which_was_done_and_not_undone(name: str) -> None:
    lab = load(gallery.text(name), name)
    play, plan = play_of(playbook(lab)), there(lab)
    _, block, always = parts(play)
    run = dict(zip((step.id for step in plan.steps), (t for t in block if COMMAND in t), strict=True))
    refused, steps = refused_first(plan), list(plan.steps)
    for failing in range(len(steps) + 1):
        codes: dict[str, int] = {}
        standing: list[Step] = []
        for step in steps[:failing]:
            task = run[step.id]
            named = [s for s in standing if s.id in step.cancels_undo_of]
            # What deletes something runs only where that was created.
            deletes = step.undo is None and bool(step.cancels_undo_of)
            assert holds(task, codes) is (not deletes or bool(named))
            code = refused.get(step.id, 0) if holds(task, codes) else 1
            codes |= {task["register"]: code} if "register" in task else {}
            standing = [s for s in standing if code or s not in named]
            standing += [step] if step.undo is not None and code == 0 else []
        undone = [task for task in always if COMMAND in task and holds(task, codes)]
        assert [argv_of(task, play) for task in undone] == [
            step.undo.command("7").argv for step in reversed(standing) if step.undo
        ]


def test_an_undo_that_fails_stops_no_other_and_fails_the_run() -> None:
    _, _, always = parts(play_of(playbook(load(gallery.text("l2"), "l2"))))
    *undone, last = always
    assert all(task["ignore_errors"] for task in undone)
    assert last[ASSERT]["that"] == [f"{task['register']} is not failed" for task in undone]


# --- what is observed -------------------------------------------------------------------------------------


GATEWAY = "192.168.104.254"


@cache
def judging(*, watched: bool) -> tuple[Plan, Task, jinja2.Template]:
    """Return the plan of one ping, the values of its playbook, and their template for what it observed."""
    lab = load(gallery.text("l2"), "l2")
    check = Check("test1", "gateway", watch=60 if watched else None)
    lab = replace(lab, phases=(replace(lab.phases[0], acts=(Act(checks=(check,)),)),))
    (task,) = (task for task in parts(play_of(playbook(lab)))[1] if ASSERT in task)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701, no HTML
    environment.filters["regex_findall"] = lambda text, pattern: re.findall(pattern, text)
    plan = there(lab)
    (step,) = (step for step in plan.steps if step.probe)
    one = replace(plan, sections=(replace(plan.sections[-1], stages=((step,),), acts=()),))
    return one, task, environment.from_string(task["vars"]["seen"])


@pytest.mark.long
@pytest.mark.parametrize("watched", [True, False])
@given(outputs=st.lists(ping_reports(timestamps=True).map(printed), min_size=5, max_size=5))
def test_a_playbook_judges_whatever_pings_saw_as_the_report_does(watched: bool, outputs: list[str]) -> None:
    plan, task, template = judging(watched=watched)
    (step,) = plan.steps
    address = IPv4Address(GATEWAY)
    edges = [printed(lost_at_the_end(address, count)) for count in range(LOST_AFTER + 2)]
    edges += [answered(GATEWAY), unanswered(GATEWAY), watched_to_its_end(GATEWAY), "", "PING", "?"]
    edges += [f"ping: {error}" for error in NO_ROUTE]
    for output in (*edges, *outputs):
        out, err = ("", output) if output.startswith("ping: ") else (output, "")
        completed = Completed(0, out, err, 0.1)
        (verdict,) = judge(Run(plan, "uml", completed={step.id: completed})).checks
        values = {
            **task["vars"],
            "item": task["loop"][0],
            "result": {"stdout": out, "stderr": err},
            "out": out,
        }
        expected = "not understood" if verdict.observed is None else str(verdict.observed)
        assert template.render(values).partition(":")[0] == expected, output


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tcp-service", "and neighbour -> test1, tcp 8080 needs a server beside"),
        ("mtu", "does not change the MTU of a real parent"),
        ("advertised-gateway", "has a gateway that advertises"),
        ("host-shim", "the host shim needs an address"),
    ],
)
def test_what_a_playbook_cannot_do_is_refused_with_a_reason(name: str, says: str) -> None:
    with pytest.raises(UsageError) as problem:
        playbook(load(gallery.text(name), name))
    assert says in problem.value.message
    assert problem.value.hint
    assert "--parent" not in problem.value.hint


def test_a_watched_check_of_an_endpoint_that_is_announced_is_refused() -> None:
    lab = load(gallery.text("l3-announced"), "l3-announced")
    phase = lab.phases[0]
    setting = replace(phase.setting, strategy="announce")
    check = Check("gateway", phase.endpoints[0], watch=60)
    lab = replace(lab, phases=(replace(phase, setting=setting, acts=(Act(checks=(check,)),)),))
    with pytest.raises(UsageError, match="needs an announcement beside"):
        playbook(lab)


def test_a_phase_of_a_lab_is_a_playbook_too() -> None:
    lab = load(gallery.text("walkthrough"), "walkthrough")
    of_phase = exported(lab, "ansible", "l3")
    assert of_phase.activate == ("ansible-playbook walkthrough.yml",)
    (file,) = of_phase.files
    assert file.text == playbook(replace(lab, phases=tuple(p for p in lab.phases if p.name == "l3")))
    assert exported(lab, "ansible").files[0].text == playbook(lab)
    with pytest.raises(UsageError, match="no phase 'l9'"):
        exported(lab, "ansible", "l9")
    with pytest.raises(UsageError, match="unknown format 'ansibel'") as problem:
        exported(lab, "ansibel", "l3")
    assert problem.value.hint.endswith("ifupdown, ansible")


# --- real runs --------------------------------------------------------------------------------------------

REAL = """\
name: real
about: "macvlan in place of ipvlan {{ 1 + 1 }}"
parent: eth0
network: {host: 192.0.2.1/24, gateway: 192.0.2.254}
endpoints:
  - {name: web, addresses: 192.0.2.11/24, routes: []}
phases:
  - name: only
    kind: macvlan
    do:
      - check: [{from: web, to: gateway}]
"""

TWO = """\
name: real
about: macvlan in place of ipvlan, on two hosts
parent: eth0
network: {gateway: 192.0.2.254}
hosts:
  - {name: h1, addresses: 192.0.2.1/24, endpoints: [{name: web, addresses: 192.0.2.11/24}]}
  - {name: h2, addresses: 192.0.2.2/24, endpoints: [{name: web, addresses: 192.0.2.21/24}]}
phases:
  - name: only
    kind: macvlan
    do:
      - check: [{from: web@h1, to: web@h2}, {from: h1, to: web@h1}]
"""

WORLD = """\
python=$1
export ANSIBLE_HOME=$PWD/ansible ANSIBLE_PIPELINING=1 ANSIBLE_NOCOLOR=1
mount --make-rprivate / && mount -t tmpfs tmpfs /run
sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1
ip link add lan up type bridge
ip addr add 192.0.2.254/24 dev lan
hosts=()
for host in h1 h2; do # each a network and a /run, held by a process
  n=${host#h}
  ip link add port$n up master lan type veth peer name real0
  holds='mount -t tmpfs tmpfs /run && mkdir /run/netns && echo begun && read -r _'
  coproc { unshare --net --mount --kill-child --fork bash -c "$holds"; }
  read -ru "${COPROC[0]}" _
  pid=$(pgrep -P "$COPROC_PID")
  hosts+=("$pid")
  ip link set real0 netns "$pid" && on="nsenter --target $pid --net --mount"
  $on sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  $on ip addr add 192.0.2.$n/24 dev real0 && $on ip link set real0 up
  echo "#!/bin/sh" >python.$host && echo "exec $on $python \"\\$@\"" >>python.$host && chmod +x python.$host
done
snap() { for pid in "${hosts[@]}"; do for what in '-d link' addr 'route show table all' netns; do
  nsenter --target "$pid" --net --mount ip -j $what; done; done; }
run() { # NAME WORD…: play with these words, and keep what it prints and leaves
  local name=$1 code=0; shift
  "$python" -m ansible playbook -i hosts.yml "$@" real.yml >$name.out 2>&1 || code=$?
  echo "$code" >$name.code
  snap >$name.after
}
snap >before
"""
"""Begins as root in new namespaces: a LAN with a gateway, and two hosts with a parent `real0` on it."""

HOSTS = """\
all:
  vars: {ansible_connection: local, ansible_become: false}
  hosts:
    h1: {ansible_python_interpreter: "{{ playbook_dir }}/python.h1"}
    h2: {ansible_python_interpreter: "{{ playbook_dir }}/python.h2"}
"""


def play(folder: Path, lab: str, runs: str) -> dict[str, tuple[str, str, bool]]:
    """Return of each run its exit code, its output, and whether it changed nothing."""
    # A host of a lab has `eth0`.
    (folder / "real.yml").write_text(playbook(load(lab, "real.yaml")).replace(": eth0\n", ": real0\n"))
    (folder / "hosts.yml").write_text(HOSTS)
    words = [*AS_ROOT, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-euc"]
    words += [WORLD + runs, "-", sys.executable]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    before = (folder / "before").read_text()
    return {
        file.stem: (
            file.read_text().strip(),
            file.with_suffix(".out").read_text(),
            file.with_suffix(".after").read_text() == before,
        )
        for file in folder.glob("*.code")
    }


@pytest.mark.promise
@pytest.mark.kernel
@requires("macvlan")
def test_a_playbook_changes_nothing_with_check_or_in_the_end(tmp_path: Path) -> None:
    ran = play(
        tmp_path,
        REAL,
        "run check --extra-vars target=h1 --check\nrun all --extra-vars target=h1\n",
    )
    assert {name: (code, same) for name, (code, _, same) in ran.items()} == {
        "check": ("0", True),
        "all": ("0", True),
    }, ran
    assert "predicted reachable, observed reachable: " in ran["all"][1]
    assert "observed" not in ran["check"][1]


@pytest.mark.slow
@pytest.mark.kernel
@requires("macvlan")
def test_a_playbook_that_fails_changes_nothing(tmp_path: Path) -> None:
    ran = play(
        tmp_path,
        REAL,
        """run failed --extra-vars '{"target": "h1", "parents": {"eth0": "none0"}}'\n""",
    )
    assert {name: (code, same) for name, (code, _, same) in ran.items()} == {"failed": ("2", True)}, ran
    assert "none0" in ran["failed"][1]


@pytest.mark.slow
@pytest.mark.kernel
@requires("macvlan")
def test_a_playbook_for_two_hosts_undoes_on_both_and_begins_on_none_where_a_name_is_used(
    tmp_path: Path,
) -> None:
    ran = play(
        tmp_path,
        TWO,
        """\
run first
run second
run failed --extra-vars '{"parents": {"eth0@h1": "real0", "eth0@h2": "none0"}}'
run limited --limit h1
nsenter --target "${hosts[1]}" --net --mount ip netns add web
snap >before
run refused
""",
    )
    assert {name: (code, same) for name, (code, _, same) in ran.items()} == {
        "first": ("0", False),
        "second": ("0", False),
        "failed": ("2", False),
        "limited": ("2", False),
        "refused": ("2", True),
    }, ran
    after = {name: (tmp_path / f"{name}.after").read_text() for name in ran}
    assert len({after[name] for name in ("first", "second", "failed", "limited")}) == 1
    for name in ("first", "second"):
        assert "predicted reachable, observed reachable: " in ran[name][1]
        assert "predicted unreachable, observed unreachable: " in ran[name][1]
    assert "in use: web" in ran["refused"][1]
    assert "the hosts are h1" in ran["limited"][1]
    assert "create namespace" not in ran["refused"][1] + ran["limited"][1]


@pytest.mark.long
def test_the_words_of_a_command_are_in_one_line_or_in_one_each() -> None:
    one_line = several = 0
    for name in gallery.names():
        with suppress(UsageError):
            lines = playbook(load(gallery.text(name), name)).splitlines()
            assert [line for line in lines if line != line.rstrip()] == [], name
            found = [line for line in lines if line.lstrip().startswith("argv:")]
            assert [line for line in found if "[" in line and not line.endswith("]")] == [], name
            one_line += sum("[" in line for line in found)
            several += sum("[" not in line for line in found)
    assert one_line > 10 * several > 0


@pytest.mark.slow
def test_playbooks_of_the_gallery_are_clean_for_ansible_lint(tmp_path: Path) -> None:
    """It is fetched into an environment of its own: it is larger than all that ipvkit needs."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=300)
    words = [f"{venv}/bin/pip", "install", "--quiet", "ansible-lint>=26"]
    subprocess.run(words, check=True, timeout=900)
    for name in gallery.names():
        with suppress(UsageError):
            (tmp_path / f"{name}.yml").write_text(playbook(load(gallery.text(name), name)))
    files = sorted(path.name for path in tmp_path.glob("*.yml"))
    assert len(files) > 20
    words = [f"{venv}/bin/ansible-lint", "--offline", "--nocolor", "--profile", "production", *files]
    environment = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
