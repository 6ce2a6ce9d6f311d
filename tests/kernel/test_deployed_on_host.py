"""What the tools of the host's links make of an export is what the lab's own commands make."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from guest import in_guest
from ipvkit.core.command import Command
from ipvkit.formats import BY_NAME
from ipvkit.formats.base import Format, Written
from ipvkit.formats.deployment import of_phase
from ipvkit.lab import FAMILIES, HOST, Act, Check, Endpoint, Lab, Outcome, Parent, Phase, Setting
from ipvkit.lab.format import load
from ipvkit.plan.lan import give, hosts_gateways
from ipvkit.plan.make import make_plan
from ipvkit.predict.whole import predict
from ipvkit.predict.world import State, world_of
from ipvkit.tools import ip
from ipvkit.verbs.formats import removal, script
from requires import requires
from runtimes import LAYERS, NETWORKD
from test_guest import IPVKIT


@dataclass(frozen=True)
class Tool:
    """Bash for a guest without systemd: `ready` prepares it, and `settle` waits until the links `$@` are up.

    `differs` are the keys of `ip -d -j` that have other values than those that the lab's commands give, as
    docs/reference/formats.md has them. `program` is a file of its package.
    """

    ready: str
    settle: str
    differs: frozenset[str]
    program: str


# The tools wait for a udev daemon unless /sys is read-only.
PREPARE = f"""{LAYERS}
mount -o remount,ro /sys
wait_for() {{
  for _ in $(seq 1200); do "$@" && return; sleep 0.1; done
  echo "in vain: $*"; cat /run/*.log; exit 1
}}
"""

TOOLS = {
    "networkd": Tool(
        NETWORKD,
        """
        for dev in "$@"; do
          wait_for test -e /sys/class/net/$dev
          wait_for grep -qsx ADMIN_STATE=configured /run/systemd/netif/links/$(</sys/class/net/$dev/ifindex)
        done
        """,
        frozenset({"address broadcast", "address nodad", "route protocol"}),
        "/usr/lib/systemd/systemd-networkd",
    ),
    "networkmanager": Tool(
        """
        mkdir -p /run/dbus /var/lib/NetworkManager
        mount -t tmpfs tmpfs /etc/NetworkManager
        printf '%s\\n' [main] plugins=keyfile no-auto-default=* auth-polkit=false >/run/networkmanager.conf
        dbus-daemon --system --fork --nopidfile
        NetworkManager --no-daemon --config /run/networkmanager.conf >/run/networkmanager.log 2>&1 &
        wait_for nmcli general
        """,
        """
        is_up() { [[ $(nmcli -g GENERAL.STATE device show "$1") == 100* ]]; }
        for dev in "$@"; do wait_for is_up $dev; done
        """,
        frozenset(
            {
                *("address broadcast", "address nodad", "address noprefixroute"),
                *("route metric", "route protocol"),
            }
        ),
        "/usr/sbin/NetworkManager",
    ),
    "ifupdown": Tool(
        """
        mkdir -p /run/network
        mount -t tmpfs tmpfs /etc/network/interfaces.d
        """,
        # ifup waits.
        ":",
        frozenset({"address broadcast", "address nodad", "route flags"}),
        "/usr/sbin/ifup",
    ),
}


def lab_of_all(form: Format) -> Lab:
    """Return a lab with a host shim of each mode and flag of `form`, on a parent each, and on a VLAN."""
    nic = Parent("eth0", (ip_interface("10.0.0.110/24"),), (ip_address("10.0.0.254"),))
    lan30 = ip_interface("10.30.0.110/24")
    tagged = Parent("eth0.30", (lan30,), (ip_address("10.30.0.254"),), (), "eth0", 30)
    others, endpoints, settings = [], [], [(tagged.name, Setting("l2", host_shim=True))]
    each = [(mode, flag) for mode in form.limits.modes for flag in form.limits.flags]
    for number, (mode, flag) in enumerate(each, 1):
        host = ip_interface(f"10.{number}.0.110/24"), ip_interface(f"fd00:{number}::110/64")
        others.append(Parent(f"dummy{number}", host, kind="dummy"))
        own = ip_interface(f"10.{number}.0.211/24"), ip_interface(f"fd00:{number}::211/64")
        endpoints.append(Endpoint(f"test{number}", own, f"test{number}", f"dummy{number}"))
        # A shim without an address sends from another one of the host.
        named = (
            (ip_address(f"10.{number}.0.120"), ip_address(f"fd00:{number}::120")) if flag == "bridge" else ()
        )
        settings.append((f"dummy{number}", Setting(mode, flag, host_shim=True, shim_addresses=named)))
    endpoints.append(Endpoint("tagged", (ip_interface("10.30.0.211/24"),), "tagged", tagged.name))
    names = tuple(endpoint.name for endpoint in endpoints)
    pairs = [pair for name in names[:-1] for pair in ((HOST, name), (name, HOST))]
    checks = [Check(*pair, family=family) for pair in pairs for family in FAMILIES]
    checks += [Check(HOST, "tagged"), Check("tagged", "gateway"), Check("tagged", HOST)]
    phase = Phase("all", Setting(), names, (Act(checks=tuple(checks)),), tuple(settings))
    return Lab("all", "a shim of each mode and flag", (nic, tagged, *others), tuple(endpoints), (phase,))


def of_host(lab: Lab) -> set[str]:
    """Return the lab's commands that the tool is there for."""
    (phase,) = lab.phases
    commands: list[Command] = []
    for parent in lab.parents:
        commands += [give(own, parent.name) for own in parent.host]
        commands += [ip.route_add(to) for to in hosts_gateways(lab, parent, parent.name)]
        commands += [each.command for stage in lab.stages(phase, parent) for each in stage]
        if parent.link and parent.vlan:
            commands.append(ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan), up=True))
    return set(map(str, commands))


def sections(lab: Lab) -> tuple[list[str], list[str]]:
    """Return the lab's commands that build its LAN, and those that add its endpoints."""
    lan, phase = make_plan(replace(lab, phases=(replace(lab.phases[0], acts=()),))).sections
    first, second = ([str(step.command) for stage in each.stages for step in stage] for each in (lan, phase))
    return first, second


SHOW = """
show() { printf '%s\\n' 'addr show' 'route show table all' | ip -json -details -batch - | tr -d '\\n'; echo; }
export -f show
"""


def pings(lab: Lab) -> str:
    """Return bash that sends each check of `lab`, and prints the numbers of those that are answered."""
    lines = []
    for number, check in enumerate(lab.phases[0].acts[0].checks):
        netns = lab.netns(check.source)
        at = f"ip netns exec {netns} " if netns else ""
        lines.append(
            f"{{ {at}ping -c 1 -w 10 {lab.pinged(check)} >/dev/null && echo {number}; }} &\npings+=($!)"
        )
    return "\n".join(["pings=()", *lines, 'wait "${pings[@]}"\n'])


def typed(written: Written) -> Iterator[str]:
    """Yield the lines that create the same connections as the files, in place of these."""
    lines = [line.removeprefix("# or: ") for line in written.activate if line.startswith("# or: ")]
    for line in lines:
        name = line.partition(" con-name ")[2].split()[0]
        yield f"nmcli connection delete {name}\n{line}"


def in_a_guest(lab: Lab, form: Format, tool: Tool) -> dict[str, str]:
    """Return what is printed after each step: by the lab's commands alone, then by the tool and the rest."""
    left_out = of_host(lab)
    lan, rest = sections(lab)
    assert left_out <= {*lan, *rest}
    with_tool, endpoints = ("\n".join(c for c in each if c not in left_out) for each in (lan, rest))
    written = form.written(of_phase(lab, lab.phases[0]))
    links = [
        name for on in of_phase(lab, lab.phases[0]).of_host for name in (on.parent.name, on.shim) if name
    ]
    devs = " ".join(links)
    lines = [
        *(SHOW, "cat >/run/plain <<'END'\nset -e\nmount -t tmpfs tmpfs /run/netns\nip link set lo up"),
        *(*lan, *rest, "echo '== plain'; show\nEND\nunshare --net --mount bash /run/plain >/run/said"),
        *("sed -n '/^== /,$p' /run/said", "{", PREPARE, tool.ready, f"settle() {{\n{tool.settle}\n}}"),
        *(with_tool, *script(written), f"settle {devs}", "} >/run/said 2>&1 || cat /run/said"),
        *("echo '== tool'; show", f"{{\n{endpoints}\n}} >/dev/null; echo '== pings'", pings(lab)),
        *("echo '== adopt'", f"{IPVKIT} adopt", "echo '== again'", "{", *written.remove),
        *(*written.activation, *typed(written), f"settle {devs}", "} >/run/said 2>&1; show"),
        *("echo '== removed'", "{", *removal(written), "} >/run/said 2>&1; ip -br link | sed 's/[@ ].*//'"),
        *(f"ls {file.path} 2>/dev/null" for file in written.files),
        *("echo '== end'", "exit 0"),
    ]
    said = in_guest("\n".join(lines), 1800)
    parts = re.split(r"^== (\w+)\n", said.output, flags=re.MULTILINE)
    assert parts[-2:] == ["end", ""], said.output
    return dict(zip(parts[1::2], parts[2::2], strict=True))


Entries = dict[tuple[str, ...], dict[str, Any]]


def entries(shown: str, links: set[str]) -> Entries:
    """Return the links, addresses and routes on `links`, without what follows from random MAC addresses."""
    every, routes = (json.loads(listed) for listed in ip.lists_in(shown, at_most=2))
    found: Entries = {}
    for link in (link for link in every if link.get("ifname") in links):
        for own in link.pop("addr_info"):
            if own["scope"] != "link":
                found["address", link["ifname"], own["local"]] = own
        found["link", link["ifname"]] = link
    for route in (route for route in routes if route.get("dev") in links):
        if not route["dst"].startswith(("fe80:", "ff00:")):
            found["route", route["dev"], route["dst"], route["table"], route["type"]] = route
    return found


PASSING = {"ifindex", "address", "link_index", "tentative"}


def differing(one: Entries, other: Entries) -> Iterator[str]:
    """Yield which keys have other values, and the entries that only one of the two has."""
    yield from (f"{key} is in one only" for key in one.keys() ^ other.keys())
    for key in one.keys() & other.keys():
        names = one[key].keys() | other[key].keys()
        yield from (f"{key[0]} {n}" for n in names - PASSING if one[key].get(n) != other[key].get(n))


SLOW = ("networkmanager", "ifupdown")
CASES = [
    pytest.param(name, marks=[requires(tool.program), *([pytest.mark.slow] if name in SLOW else [])])
    for name, tool in TOOLS.items()
]


@pytest.mark.parametrize("name", CASES)
def test_the_tool_makes_the_hosts_part_of_the_lab(name: str) -> None:
    form, tool = BY_NAME[name], TOOLS[name]
    lab = lab_of_all(form)
    (phase,) = lab.phases
    said = in_a_guest(lab, form, tool)
    links = {on.parent.name for on in of_phase(lab, phase).of_host}
    shims = {on.shim for on in of_phase(lab, phase).of_host if on.shim}
    plain = entries(said["plain"], links | shims)
    assert {key[1] for key in plain if key[0] == "link"} == links | shims
    assert set(differing(plain, entries(said["tool"], links | shims))) == tool.differs
    # Deleted links are there again once it is activated.
    assert set(differing(plain, entries(said["again"], links | shims))) == tool.differs
    world, (act,) = world_of(lab, phase, State()), phase.acts
    answered = {act.checks[number] for number in map(int, said["pings"].split())}
    assert answered == {c for c in act.checks if predict(world, c).outcome is Outcome.REACHABLE}
    twin = load(said["adopt"], "twin.yaml")
    for parent in (parent.name for parent in lab.parents if parent.name != "eth0"):
        there, was = twin.phases[0].on(parent), phase.on(parent)
        assert replace(there, shim_addresses=was.shim_addresses) == was
        assert not was.shim_addresses or there.shim_addresses == was.shim_addresses
    assert {*shims, "eth0.30"}.isdisjoint(said["removed"].split())
    assert "/" not in said["removed"]
