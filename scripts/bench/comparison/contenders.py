"""What each contender does to build endpoints: the same ones, each as its own users would have it done.

An endpoint is a network namespace with a link on `eth0`, its address, up, and a default route.
"""

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from comparison.peers import Peers
from comparison.places import BEGIN, END, RIGHT

ROOT = Path(__file__).parents[3]
GATEWAY = "10.9.0.254"
PREFIX = 16
PER_NETWORK = 250

PARENT = """\
set -e
ip netns add earlier
ip link add earlier type veth peer name eth0 netns earlier
ip netns del earlier
while ip link show earlier >/dev/null 2>&1; do sleep 0.02; done
ip link add eth0 type veth peer name behind
ip link set behind up
ip link set eth0 arp off up
"""
"""A machine on which nothing goes on, and a parent on it.

The kernel ends namespaces in the background, those of earlier runs first: once it has ended one that was
made and deleted just now, it is idle. The parent has a carrier, and does no ARP, so that ipvkit asks nobody
whether an address is in use.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be built: `size` endpoints of a `kind` (ipvlan or macvlan); `folder` is there for files."""

    kind: str
    size: int
    folder: Path

    @property
    def endpoints(self) -> list[tuple[str, str]]:
        """The name and the address of each."""
        numbers = range(self.size)
        return [(f"e{n + 1}", f"10.9.{1 + n // PER_NETWORK}.{1 + n % PER_NETWORK}") for n in numbers]

    @property
    def link_type(self) -> str:
        """The words of ip-link(8) for the kind."""
        return "ipvlan mode l2" if self.kind == "ipvlan" else "macvlan mode bridge"

    def file(self, name: str, text: str) -> str:
        """Write a file and return its path, quoted for bash."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return shlex.quote(str(path))


Script = Callable[[Job, Peers], str]
"""Returns bash that builds the endpoints on a machine with a parent; raises NotThereError where it cannot."""


def lab(job: Job, setup: str, checks: str = "") -> str:
    """Return the lab file of the job, as YAML; `checks` are the items of what happens."""
    endpoints = [f"  - {{name: {name}, addresses: {address}/{PREFIX}}}" for name, address in job.endpoints]
    return "\n".join(
        [
            "name: bench",
            "about: endpoints that are timed",
            "parent: eth0",
            f"setup: {setup}",
            f"network: {{host: 10.9.0.1/{PREFIX}, gateway: {GATEWAY}}}",
            "endpoints:",
            *endpoints,
            "phases:",
            "  - name: up",
            "    mode: l2" if job.kind == "ipvlan" else "    kind: macvlan",
            f"    do: [{checks}]",
            "",
        ]
    )


def ipvkit(command: str, file: str, *words: str) -> str:
    """Return the line that runs ipvkit as a program, with the lab in `file` (quoted) on the parent."""
    python = shlex.join([sys.executable, "-m", "ipvkit", command])
    environment = f"PYTHONPATH={shlex.quote(str(ROOT))} XDG_STATE_HOME=/run/state"
    return f"{environment} {python} {file} --parent eth0 --gateway {GATEWAY} {shlex.join(words)}"


def quietly(line: str) -> str:
    """Return bash that shows what `line` said only where it fails, and then ends."""
    return f"{line} >/run/said 2>&1 || {{ cat /run/said; exit 1; }}"


def checked(job: Job) -> str:
    """Return bash that prints RIGHT where the first and the last endpoint are as they should be."""
    (first, _), (last, address) = job.endpoints[0], job.endpoints[-1]
    return (
        f"(($(ls /run/netns | wc -l) == {job.size}))\n"
        f"for netns in {first} {last}; do [[ $(ip -n $netns route show default) == default* ]]; done\n"
        f"ip netns exec {first} ping -c 1 -W 2 {address} >/dev/null\necho {RIGHT}\n"
    )


ALL_IS_GONE = f"[[ -z $(ls /run/netns) ]]\necho {RIGHT}\n"
"""Bash that prints RIGHT where no endpoint is left."""


def timed(lines: str, before: str = "") -> str:
    """Return bash in which `lines` are timed, and what comes `before` is not."""
    return f"{before}\necho {BEGIN}\n{lines}\necho {END}\n"


def ipvkit_builds(job: Job, setup: str) -> str:
    """Build them by `run-lab --keep`, from the start of the program to its end."""
    return timed(quietly(ipvkit("run-lab", job.file("lab.yaml", lab(job, setup)), "--keep")))


def ipvkit_batch(job: Job, _: Peers) -> str:
    """Build them in few processes."""
    return ipvkit_builds(job, "batch")


def ipvkit_stepwise(job: Job, _: Peers) -> str:
    """Build them in one process a command."""
    return ipvkit_builds(job, "stepwise")


def bash(job: Job, _: Peers) -> str:
    """Build them by the seed's commands: the link is made, and moved into its namespace."""
    each = """\
ip netns add {name}
ip link add {name} link eth0 type {type}
ip link set {name} netns {name}
ip netns exec {name} ip link set {name} up
ip netns exec {name} ip addr add {address}/{prefix} dev {name}
ip netns exec {name} ip route add default dev {name}
"""
    return timed(
        "".join(
            each.format(name=name, type=job.link_type, address=address, prefix=PREFIX)
            for name, address in job.endpoints
        )
    )


def batches(job: Job) -> str:
    """Return bash that builds them by batches: one for all links, in place, and one for each namespace."""
    links = [
        f"netns add {name}\nlink add link eth0 name {name} netns {name} type {job.link_type}\n"
        for name, _ in job.endpoints
    ]
    inside = [
        f"ip -n {name} -batch - <<<$'link set {name} up\\naddr add {address}/{PREFIX} dev {name}\\n"
        f"route add default dev {name}'\n"
        for name, address in job.endpoints
    ]
    return f"ip -batch {job.file('links', ''.join(links))}\n{''.join(inside)}"


def ip_batch(job: Job, _: Peers) -> str:
    """Build them by hand-written batches, on one CPU."""
    pinned = "taskset -pc \"$(taskset -pc $BASHPID | grep -o '[0-9]*$')\" $BASHPID >/dev/null"
    return timed(batches(job), pinned)


def pyroute2(job: Job, peers: Peers) -> str:
    """Build them in the loop that pyroute2's documentation suggests; Python's start is not timed."""
    loop = f"""
from pyroute2 import IPRoute, NetNS, netns

def build():
    with IPRoute() as host:
        parent = host.link_lookup(ifname="eth0")[0]
        for name, address in ENDPOINTS:
            netns.create(name)
            host.link("add", ifname=name, link=parent, net_ns_fd=name, kind={job.kind!r}, **MODE)
            with NetNS(name) as inside:
                index = inside.link_lookup(ifname=name)[0]
                inside.link("set", index=index, state="up")
                inside.addr("add", index=index, address=address, prefixlen={PREFIX})
                inside.route("add", dst="0.0.0.0/0", oif=index)
"""
    mode = {"ipvlan_mode": 0} if job.kind == "ipvlan" else {"macvlan_mode": "bridge"}
    return _python(job, peers.python("pyroute2"), f"MODE = {mode}\n{loop}")


def simplenetlink(job: Job, peers: Peers) -> str:
    """Build them in a loop of simplenetlink's own calls; Python's start is not timed."""
    loop = f"""
from simplenetlink import SimpleNetlink

def build():
    net = SimpleNetlink()
    for name, address in ENDPOINTS:
        net.create_interface(name, type={job.kind!r}, parent_interface="eth0", namespace=name)
        net.interface_add_ipv4(name, address + "/{PREFIX}")
        net.add_route("0.0.0.0/0", "{GATEWAY}")
        net.set_current_namespace(None)
"""
    return _python(job, peers.python("simplenetlink"), loop)


def _python(job: Job, packages: Path, loop: str) -> str:
    ending = f'print("{BEGIN}", flush=True)\nbuild()\nprint("{END}", flush=True)\n'
    file = job.file("loop.py", f"ENDPOINTS = {job.endpoints}\n{loop}\n{ending}")
    return f"PYTHONPATH={shlex.quote(str(packages))} {shlex.quote(sys.executable)} {file}\n"


def cni(job: Job, peers: Peers) -> str:
    """Build them by the CNI plugin of the kind and the plugin `static`, once for each namespace."""
    plugins = peers.debian("containernetworking-plugins") / "usr/lib/cni"
    lines = [f"export CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH={shlex.quote(str(plugins))}"]
    for name, address in job.endpoints:
        ipam = {
            "type": "static",
            "addresses": [{"address": f"{address}/{PREFIX}"}],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        mode = "l2" if job.kind == "ipvlan" else "bridge"
        what = {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": job.kind,
            "master": "eth0",
            "mode": mode,
            "ipam": ipam,
        }
        variables = f"CNI_CONTAINERID={name} CNI_NETNS=/run/netns/{name}"
        asked = f'{variables} "$CNI_PATH"/{job.kind} <<<{shlex.quote(json.dumps(what))}'
        lines.append(f"ip netns add {name}\n{asked} >/run/said || {{ cat /run/said; exit 1; }}")
    return timed("\n".join(lines))


def netavark(job: Job, peers: Peers) -> str:
    """Build them by netavark, once for each namespace, with neither DNS nor a firewall."""
    program = peers.debian("netavark") / "usr/lib/podman/netavark"
    network = {
        "name": "bench",
        "id": "0" * 63 + "1",
        "driver": job.kind,
        "network_interface": "eth0",
        "subnets": [{"subnet": f"10.9.0.0/{PREFIX}", "gateway": GATEWAY}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "options": {"mode": "l2" if job.kind == "ipvlan" else "bridge"},
        "ipam_options": {"driver": "host-local"},
    }
    lines = ["export NETAVARK_FW=none"]
    for name, address in job.endpoints:
        wanted = {
            "container_id": name,
            "container_name": name,
            "networks": {"bench": {"static_ips": [address], "interface_name": "eth0"}},
            "network_info": {"bench": network},
        }
        asked = f"setup /run/netns/{name} <<<{shlex.quote(json.dumps(wanted))}"
        lines.append(
            f"ip netns add {name}\n{shlex.quote(str(program))} --config /run/netavark {asked} >/run/said"
        )
    return timed("\n".join(lines))


BUILDERS: Mapping[str, Script] = {
    "ipvkit batch": ipvkit_batch,
    "ipvkit stepwise": ipvkit_stepwise,
    "commands in bash": bash,
    "ip -batch": ip_batch,
    "pyroute2": pyroute2,
    "CNI plugin": cni,
    "netavark": netavark,
    "simplenetlink": simplenetlink,
}
"""All contenders."""

SETUPS = {"ipvkit batch": "batch", "ipvkit stepwise": "stepwise"}
"""Which of them are ipvkit, and the lab's `setup`: on uml they are run from outside of the kernel."""
