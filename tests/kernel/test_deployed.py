"""What a tool makes of exported files is what the lab's commands make; checks through it are as predicted."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from itertools import product
from typing import Any

import pytest

from guest import in_guest
from ipvkit.formats import BY_NAME
from ipvkit.formats.base import Format, Written
from ipvkit.formats.deployment import of_phase
from ipvkit.lab import HOST, PEERS, Check, Lab
from ipvkit.lab.format import load
from ipvkit.lab.parts import FLAGS, MODES, Outcome
from ipvkit.plan.make import make_plan
from ipvkit.predict.whole import predict_lab
from ipvkit.strategies import BY_NAME as BY_STRATEGY
from ipvkit.verbs.formats import script
from requires import requires
from runtimes import LAYERS, MEMORY_MIB, SYSTEMD, lxc_rootfs, setup
from test_guest import IPVKIT
from test_setups import APART


@dataclass(frozen=True)
class Driver:
    """A tool in a guest: bash that makes it ready, and that prints the path of the namespace of endpoint $1.

    `differs` are the values that it sets otherwise than the lab's own commands, as docs/reference/formats.md
    has them. `program` is a file of its package.
    """

    program: str
    differs: frozenset[str]
    ready: str = ""
    netns: str = "echo /run/netns/$1"
    memory_mib: int = 0
    slow: bool = False


DRIVERS = {
    "cni": Driver("/usr/lib/cni/ipvlan", frozenset({"broadcast", "nodad", "scope", "txqlen"}), LAYERS),
    "docker": Driver(
        "/usr/libexec/docker/cli-plugins/docker-compose",
        frozenset({"broadcast", "txqlen"}),
        f"{setup('docker')}mkdir /run/project; cd /run/project\n",
        "docker inspect -f '{{.NetworkSettings.SandboxKey}}' \"$(docker compose ps -q $1)\"",
        MEMORY_MIB,
        slow=True,
    ),
    "podman": Driver(
        "/usr/bin/podman",
        frozenset({"broadcast", "nodad", "protocol"}),
        f"{setup('podman')}{SYSTEMD}",
        "echo /proc/$systemd/root$(podman inspect -f '{{.NetworkSettings.SandboxKey}}' $1)",
        MEMORY_MIB,
        slow=True,
    ),
    "incus": Driver(
        "/usr/libexec/incus/incusd",
        frozenset({"broadcast", "nodad", "scope"}),
        f"{setup('incus')}mkdir /run/project; cd /run/project\n",
        "echo /proc/$(incus query /1.0/instances/$1/state | grep '\"pid\"' | tr -dc 0-9)/ns/net",
        MEMORY_MIB,
        slow=True,
    ),
    "lxc": Driver(
        "/usr/bin/lxc-start",
        frozenset({"broadcast", "nodad", "scope"}),
        f"{setup('lxc')}{lxc_rootfs('web', 'db')}",
        "echo /proc/$(lxc-info -n $1 -p -H)/ns/net",
        MEMORY_MIB,
        slow=True,
    ),
}
"""The driver of each format that makes links in the namespaces of endpoints."""

SHOW = """\
show() { # NAME PATH
  for what in 'addr show' 'route show table all' '-6 route show table all'; do
    printf '%s\\t%s\\t' "$1" "$what"; nsenter --net="$2" ip -d -j $what | tr -d '\\n'; echo
  done
}
"""

# Tools let the kernel look for duplicates of an IPv6 address first.
SETTLE = """\
settle() { # PATH
  for _ in $(seq 600); do
    nsenter --net="$1" ip -6 addr show tentative dev eth0 | grep -q . || return 0; sleep 0.1
  done
  echo failed: settle "$1"
}
"""

IGNORED = re.compile(
    "ifindex|link_index|link_netnsid|address|link|group|.*_life_time|.*_time|.*queues|.*gso.*|.*gro.*|"
    "tso_.*|operstate|mc_.*|metric|pref|flags|inet6_addr_gen_mode|stable_.*|promiscuity|allmulti|min_mtu|max_mtu"
)
"""What nobody sets: numbers, MAC addresses, times, and sizes of queues."""


_VIA = 'routes: [{to: default, via: 192.168.104.254}, {to: default, via: "2001:db8:104::254"}], '


def lab_of(mode: str, flag: str, strategy: str = "none", routes: str = "") -> Lab:
    """Return a lab of two endpoints called eth0, which every format with that mode and flag can say."""
    text = f"""
name: deployed
about: two endpoints
parent: eth0
network:
  host: [192.168.104.110/24, "2001:db8:104::110/64"]
  gateway: [192.168.104.254, "2001:db8:104::254"]
  neighbour: [192.168.104.111, "2001:db8:104::111"]
far: [198.51.100.10/24, "2001:db8:ff::10/64"]
endpoints:
  - {{name: web, dev: eth0, {routes}addresses: [192.168.104.211/24, "2001:db8:104::211/64"]}}
  - {{name: db, dev: eth0, {routes}addresses: [192.168.104.212/24, "2001:db8:104::212/64"]}}
phases:
  - name: {mode}
    mode: {mode}
    flag: {flag}
    strategy: {strategy}
    do:
      - check:
          - {{from: web, to: db}}
          - {{from: db, to: web, family: ipv6}}
          - {{from: neighbour, to: web}}
          - {{from: db, to: gateway, family: ipv6}}
          - {{from: host, to: db}}
          - {{from: web, to: far}}
"""
    return load(text, "deployed.yaml")


def beyond(lab: Lab, form: Format) -> set[str]:
    """Return the names of what of the lab is beyond the format besides its limits."""
    return {name for _, name in form.beyond(of_phase(lab, lab.phases[0]))}


def fitted(lab: Lab, form: Format) -> Lab:
    """Return the lab, with a whole prefix for each address where the format can say no other."""
    if "prefix" not in beyond(lab, form):
        return lab
    whole = (replace(e, addresses=tuple(ip_interface(own.ip) for own in e.addresses)) for e in lab.endpoints)
    return replace(lab, endpoints=tuple(whole))


def built(lab: Lab) -> str:
    """Return bash that builds the lab apart with its own commands, and shows each endpoint."""
    plan = make_plan(replace(lab, phases=(replace(lab.phases[0], acts=()),)))
    commands = "".join(f"{step.command} >/dev/null || echo failed: {step.id}\n" for step in plan.steps)
    shows = "".join(f"show {e.name} /run/netns/{e.netns}\n" for e in lab.endpoints)
    return APART.format(f"{commands}{SHOW}{shows}")


def lan(lab: Lab) -> str:
    """Return bash that builds the LAN of the lab in the guest."""
    steps = (step for stage in make_plan(lab).sections[0].stages for step in stage)
    return "".join(f"{step.command} >/dev/null || echo failed: {step.id}\n" for step in steps)


def pinged(lab: Lab, checks: tuple[Check, ...]) -> Iterator[str]:
    """Yield bash that prints for each check whether it is answered."""
    for number, check in enumerate(checks):
        at = {HOST: "", **{role: f"ip netns exec {role} " for role in PEERS}}
        where = at.get(check.source, f'nsenter --net="$(netns {check.source})" ')
        ping = f"{where}ping -q -c 2 -i 0.2 -W 1 {lab.pinged(check)} >/dev/null 2>&1"
        yield f"{ping} && echo 'check {number} reachable' || echo 'check {number} unreachable'\n"


def deployed(lab: Lab, written: Written) -> str:
    """Return bash that deploys the files, shows each endpoint, runs checks, adopts, and removes it all."""
    (act,) = lab.phases[0].acts
    shows = "".join(f'settle "$(netns {e.netns})"\n' for e in lab.endpoints)
    shows += "".join(f'show {e.name} "$(netns {e.netns})"\n' for e in lab.endpoints)
    activate = "\n".join(script(written))
    remove = "\n".join(written.remove)
    return (
        f"( set -e\n{activate}\n) >/run/activated 2>&1 || {{ echo failed: activate; cat /run/activated; }}\n"
        f"{shows}{''.join(pinged(lab, act.checks))}echo == adopted\n{IPVKIT} adopt\necho == end\n"
        f"( set -e\n{remove}\n) >/run/removed 2>&1 || {{ echo failed: remove; cat /run/removed; }}\n"
    )


def shown(text: str) -> dict[str, set[str]]:
    """Return what is shown of each endpoint, as `key=value`, without what nobody sets."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.count("\t") == 2:
            name, what, listed = line.split("\t")
            entries = [e for e in json.loads(listed or "[]") if e.get("ifname", e.get("dev")) == "eth0"]
            # A link-local address is tentative for a while, and only then it has a route.
            entries = [e for e in entries if not e.get("dst", "").startswith(("fe80:", "ff00:"))]
            values = found.setdefault(name, set())
            for entry in entries:
                values |= {f"{what}: {value}" for value in flat(entry, key(entry))}
    return found


def key(entry: Any) -> str:
    """Return what an entry is about: the destination of a route, or a link."""
    return f"{entry.get('dst', '')} {entry.get('table', '')}".strip()


def flat(value: Any, path: str) -> Iterator[str]:
    """Yield `path key=value` for each value in a JSON document."""
    if isinstance(value, dict) and value.get("scope") == "link" and "local" in value:
        return
    if isinstance(value, dict):
        about = f"{path} {value['local']}" if "local" in value else path
        for name, inner in value.items():
            if not IGNORED.fullmatch(name):
                yield from (
                    flat(inner, f"{about} {name}")
                    if isinstance(inner, (dict, list))
                    else [f"{about} {name}={inner}"]
                )
    elif isinstance(value, list):
        for inner in value:
            yield from flat(inner, path) if isinstance(inner, (dict, list)) else [f"{path}={inner}"]


def names_of(values: set[str]) -> set[str]:
    return {value.rpartition("=")[0].split()[-1] for value in values}


CASES = [
    pytest.param(name, marks=[requires(driver.program), *([pytest.mark.slow] if driver.slow else [])])
    for name, driver in DRIVERS.items()
]


@pytest.mark.parametrize("name", CASES)
def test_a_tool_makes_what_the_lab_does(name: str) -> None:
    driver, form = DRIVERS[name], BY_NAME[name]
    limits = form.limits
    every = product(limits.modes, limits.flags, limits.strategies)
    routes = _VIA if limits.routes == "via" else ""
    labs = [fitted(lab_of(*each, routes), form) for each in every if each[0] in BY_STRATEGY[each[2]].modes]
    labs = [lab for lab in labs if "mode" not in beyond(lab, form)]
    parts = [
        f"{SHOW}{SETTLE}netns() {{ {driver.netns}; }}\n",
        *(f"{built(lab)}echo == plain\n" for lab in labs),
    ]
    parts += [lan(labs[0]), driver.ready]
    for lab in labs:
        flush = "".join(f"ip -n {peer} neigh flush all\n" for peer in PEERS) + "ip neigh flush all\n"
        written = form.written(of_phase(lab, lab.phases[0]))
        parts.append(f"{flush}{deployed(lab, written)}echo == deployed\n")
    said = in_guest("".join(parts), 1200, memory_mib=driver.memory_mib)
    assert not re.findall("failed: .*(?:\n.*){0,9}", said.output)
    *plain, rest = said.output.split("== plain\n")
    *made, _ = rest.split("== deployed\n")
    assert len(plain) == len(made) == len(labs)
    differing: set[str] = set()
    for lab, before, after in zip(labs, plain, made, strict=True):
        there, here = shown(before), shown(after)
        assert set(there) == set(here) == {"web", "db"}
        for endpoint in there:
            assert len(there[endpoint]) > 10
            differing |= names_of(there[endpoint] ^ here[endpoint])
        observed = dict(re.findall(r"^check (\d+) (\w+)$", after, re.MULTILINE))
        (phase,) = predict_lab(lab)
        for number, probe in enumerate(phase.acts[0].probes):
            assert observed[str(number)] in probe.outcomes, (lab.phases[0].name, probe)
        assert_adopted(lab, after.partition("== adopted\n")[2].partition("== end")[0])
    assert differing == driver.differs


def assert_adopted(lab: Lab, text: str) -> None:
    """Check that what `ipvkit adopt` writes of a tool's links has the lab's setting, addresses and routes."""
    twin = load(text, "twin.yaml")
    (phase,) = twin.phases
    assert phase.setting == lab.phases[0].setting
    assert sorted(e.addresses for e in twin.endpoints) == sorted(e.addresses for e in lab.endpoints)
    every = [of_phase(each, each.phases[0]).endpoints for each in (twin, lab)]
    there, here = ({e.addresses: frozenset(e.routes or ()) for e in own} for own in every)
    assert there == here


def test_every_outcome_is_among_the_cases() -> None:
    outcomes = set()
    for mode, flag in product(MODES, FLAGS):
        (phase,) = predict_lab(lab_of(mode, flag))
        outcomes |= {probe.expected for probe in phase.acts[0].probes}
    assert outcomes == {Outcome.REACHABLE, Outcome.UNREACHABLE}
