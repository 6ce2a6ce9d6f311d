"""What `ipvkit inspect` makes of a machine: owners from files, the twin, problems, table and JSON."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_real_commands import needs_namespaces, printed_in

from hostile import hostile_texts
from ipvkit.cli import main
from ipvkit.core.command import Command, Completed
from ipvkit.core.values import address
from ipvkit.host import owners
from ipvkit.host.inspect import Around, Inside, Inspection, OnParent, Placed, Table, inspect, only, views
from ipvkit.host.namespaces import Space, Spaces
from ipvkit.host.owners import Owner, owner_of
from ipvkit.host.twin import Twin, twin_of
from ipvkit.report.inspect import preview, render_json, render_table, timed
from ipvkit.targets.agent import Agent
from ipvkit.tools.ip import Address, Link, Neighbour, Route
from ipvkit.verbs.formats import Dialect
from ipvkit.verbs.inspect import Review, review
from namespaces import IN_NAMESPACES_OF_ITS_OWN
from scripted import Scripted

ID = "4f1c" * 16


# --- owners ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which this module looks for /proc and for the files of runtimes."""
    for name in ("_PROC", "_DOCKER", "_PODMAN", "_CONTAINERD", "_CNI"):
        monkeypatch.setattr(owners, name, tmp_path / getattr(owners, name).relative_to("/"))
    return tmp_path


def written(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def owner_in(files: Path, group: str, **of_process: str) -> Owner | None:
    """Return the owner of a namespace with process 811, which is in the control group `group`."""
    written(files / "proc/811/cgroup", f"0::{group}\n")
    for name, text in {"comm": "nginx\n", **of_process}.items():
        written(files / "proc/811" / name, text)
    return owner_of(Space("/proc/811/ns/net", pids=[811]))


@pytest.mark.parametrize("group", [f"/system.slice/docker-{ID}.scope", f"/docker/{ID}"])
def test_a_container_of_docker_has_its_name_and_image(files: Path, group: str) -> None:
    config = {"ID": ID, "Name": "/web", "Config": {"Hostname": "4f1c4f1c", "Image": "nginx:1.27"}}
    written(files / "var/lib/docker/containers" / ID / "config.v2.json", config)
    assert owner_in(files, group) == Owner("docker", "web", "nginx:1.27", 811)


METADATA = json.dumps({"image-name": "docker.io/library/busybox:latest", "name": "box"})
CONTAINERS = [{"id": "00" * 32, "names": ["other"]}, {"id": ID, "names": ["box"], "metadata": METADATA}]
BOX = Owner("podman", "box", "docker.io/library/busybox:latest", 811)


@pytest.mark.parametrize(
    "group", [f"/machine.slice/libpod-{ID}.scope/container", f"/libpod_parent/libpod-{ID}"]
)
def test_a_container_of_podman_has_its_name_and_image(files: Path, group: str) -> None:
    written(files / "var/lib/containers/storage/overlay-containers/containers.json", CONTAINERS)
    assert owner_in(files, group) == BOX


# Of podman 5.4.2 with its own --root, and --cgroups=disabled; what follows in the command line is left out.
CONMON = (
    f"/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/crun -b /run/elsewhere/vfs-containers/{ID}/"
    f"userdata -p /run/containers/storage/vfs-containers/{ID}/userdata/pidfile -n away --exit-dir "
    f"/run/libpod/exits --persist-dir /run/libpod/persist/{ID} --full-attach -l k8s-file:/run/elsewhere/"
    f"vfs-containers/{ID}/userdata/ctr.log --log-level warning --syslog --runtime-arg --log-format=json "
)
STORE = """\
[{"id":"ID","names":["away"],"image":"4d9a548cd961d78a0303de1e376ad10b779da473115d71bb10b78a8651206288",\
"layer":"896adc487ca28fd1c1633a2d882145032a68690640b4d2c8783ad3a2d48d9de4","metadata":"{\\"image-name\\":\
\\"localhost/box:2.0\\",\\"image-id\\":\\"4d9a548cd961d78a0303de1e376ad10b779da473115d71bb10b78a8651206288\\",\
\\"name\\":\\"away\\",\\"created-at\\":1795868295}","created":"2026-11-28T12:18:15.430651904Z",\
"flags":{"MountLabel":"","ProcessLabel":""}}]""".replace("ID", ID, 1)


def monitored(files: Path, cmdline: str, group: str = "/") -> Owner | None:
    """Return the owner of a process whose grandparent is a monitor that was started so."""
    written(files / "proc/800/cmdline", cmdline.replace(" ", "\0"))
    written(files / "proc/805/status", "Name:\tsh\nPPid:\t800\n")
    return owner_in(files, group, status="Name:\tsleep\nPPid:\t805\n")


def test_a_container_of_podman_is_known_by_its_conmon_which_has_the_place_of_its_files(files: Path) -> None:
    store = files / "proc/800/root/run/elsewhere/vfs-containers/containers.json"
    written(store, STORE)
    assert monitored(files, CONMON) == Owner("podman", "away", "localhost/box:2.0", 811)
    store.unlink()
    os.mkfifo(store)
    assert monitored(files, CONMON) == Owner("podman", ID[:12], pid=811)


# Of containerd 1.7.24: Docker's 26.1.5 with its own --data-root and --cgroup-parent, and a pod.
SHIM = f"/usr/bin/containerd-shim-runc-v2 -namespace moby -id {ID} -address /run/containerd/containerd.sock "
BUNDLE = """\
{"mounts":[{"destination":"/data","type":"bind","source":"/home/user/hostname","options":["rbind"]},\
{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev",\
"mode=1777","size=67108864"]},{"destination":"/etc/resolv.conf","type":"bind","source":\
"/var/lib/docker-data/containers/ID/resolv.conf","options":["rbind","rprivate"]},{"destination":\
"/etc/hostname","type":"bind","source":"/var/lib/docker-data/containers/ID/hostname","options":["rbind",\
"rprivate"]}],"root":{"path":"/var/lib/docker-data/vfs/dir/cbae9537e33694056c1549f0b918dfaf82a1853e9aac7911"},\
"hooks":{"prestart":[{"path":"/proc/310/exe","args":["libnetwork-setkey","-exec-root=/var/run/docker"]}]}}\
""".replace("ID", ID)
CONFIG = """\
{"StreamConfig":{},"State":{"Running":true,"Paused":false,"Pid":811,"Health":null},"ID":"ID","Path":\
"/bin/sleep","Args":["600"],"Config":{"Hostname":"4f1c4f1c4f1c","Cmd":["/bin/sleep","600"],"Image":"box:1.0",\
"Volumes":null,"Labels":{}},"Image":"sha256:541e1cb02238d184f366123f18c90885e4db40e65675d3d0e29b845b564ef4e3",\
"Name":"/limited","Driver":"vfs","OS":"linux"}""".replace("ID", ID, 1)
POD = """\
{"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"ID",\
"io.kubernetes.cri.sandbox-log-directory":"","io.kubernetes.cri.sandbox-name":"web-0",\
"io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"0b7fd9c5"}}""".replace("ID", ID)


def test_a_container_of_docker_is_known_by_its_shim_where_its_control_group_is_elsewhere(files: Path) -> None:
    written(files / "proc/800/cwd/config.json", BUNDLE)
    config = files / "proc/800/root/var/lib/docker-data/containers" / ID / "config.v2.json"
    written(config, CONFIG)
    written(files / "proc/800/root/home/user/config.v2.json", CONFIG.replace("limited", "impostor"))
    assert monitored(files, SHIM, f"/limits/{ID}") == Owner("docker", "limited", "box:1.0", 811)
    config.unlink()
    assert monitored(files, SHIM, f"/limits/{ID}") == Owner("docker", ID[:12], pid=811)


def test_a_pod_is_known_by_the_shim_of_its_containers(files: Path) -> None:
    shim = SHIM.replace("moby", "k8s.io")
    written(files / "proc/800/cwd/config.json", POD)
    assert monitored(files, shim) == Owner("containerd", "shop/web-0", "", 811)
    written(files / "proc/800/cwd/config.json", "[]")
    assert monitored(files, shim) == Owner("containerd", ID[:12], pid=811)
    assert monitored(files, shim.replace(ID, "by-hand")) == Owner("containerd", "by-hand", pid=811)


@pytest.mark.parametrize("text", ["**x", "/", "..", "x" * 5000, "\\u0000", "\\ud800"])
def test_hostile_words_of_a_monitor_are_only_words(files: Path, text: str) -> None:
    written(files / "proc/800/cwd/config.json", BUNDLE.replace("/var/lib", f"/{text}"))
    for cmdline in (CONMON, SHIM, SHIM.replace("moby", "k8s.io")):
        seen = monitored(files, cmdline.replace("/run/elsewhere", f"/{text}").replace(ID, text))
        assert seen is not None
        assert seen.name == text


# Of libcni in containerd 1.7.24; the configuration is shortened.
CACHE = """\
{"kind":"cniCacheV1","containerId":"ID","config":"eyJjbmlWZXJzaW9uIjoi","ifName":"eth0","networkName":"shop",\
"cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-0"],\
["K8S_POD_INFRA_CONTAINER_ID","ID"],["K8S_POD_UID","0b7fd9c5"]],"capabilityArgs":{"cgroupPath":\
"/kubepods/burstable/pod0b7fd9c5","io.kubernetes.cri.pod-annotations":null},"result":{"cniVersion":"1.0.0",\
"dns":{},"interfaces":[{"mac":"ba:6e:38:f3:eb:b3","name":"eth0","sandbox":\
"/var/run/netns/cni-903249ea-162e-09c3-8c72-481f0e6c1de7"}],"ips":[{"address":"192.168.104.240/24","gateway":\
"192.168.104.254","interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}}""".replace("ID", ID)


def test_a_namespace_without_a_process_is_of_the_pod_that_the_cache_of_cni_has(files: Path) -> None:
    pod, other = "cni-903249ea-162e-09c3-8c72-481f0e6c1de7", "cni-0"
    call = files / "var/lib/cni/results" / f"shop-{ID}-eth0"
    written(call, CACHE)
    assert owner_of(Space(f"/run/netns/{pod}", names=[pod])) == Owner("cni", "shop/web-0")
    assert owner_of(Space(f"/run/netns/{other}", names=[other], holders=[1])) is None
    written(call, CACHE.replace("K8S_POD_NAME", "NAME"))
    assert owner_of(Space(f"/run/netns/{pod}", names=[pod])) == Owner("cni", ID[:12])
    for arguments in ("null", "7", "[7]", "[[]]", '[["K8S_POD_NAME",7]]'):
        written(call, re.sub(r'"cniArgs":.*?\]\]', f'"cniArgs":{arguments}', CACHE))
        assert owner_of(Space(f"/run/netns/{pod}", names=[pod])) == Owner("cni", ID[:12])


def test_a_pod_of_containerd_has_its_name(files: Path) -> None:
    notes = {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.image-name": "registry.k8s.io/pause:3.10",
    }
    task = files / "run/containerd/io.containerd.runtime.v2.task/k8s.io" / ID
    written(task / "config.json", {"ociVersion": "1.2.0", "annotations": notes})
    expected = Owner("containerd", "shop/web-0", "registry.k8s.io/pause:3.10", 811)
    slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12.slice"
    assert owner_in(files, f"{slices}/cri-containerd-{ID}.scope") == expected
    assert owner_in(files, f"/kubepods/burstable/pod12/{ID}") == expected


@pytest.mark.parametrize(
    ("group", "runtime", "name"),
    [
        ("/lxc.payload.web/init.scope", "lxc", "web"),
        ("/lxc/web", "lxc", "web"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", "web"),
        (r"/machine.slice/machine-web\x2d1.scope", "systemd-nspawn", "web-1"),
        ("/system.slice/unbound.service", "systemd", "unbound"),
        ("/user.slice/user-0.slice/session-1.scope", "process", "nginx"),
        (f"/system.slice/docker-{ID}.scope", "docker", ID[:12]),
        (f"/machine.slice/libpod-{ID}.scope", "podman", ID[:12]),
    ],
)
def test_an_owner_without_files_is_known_by_its_control_group(
    files: Path, group: str, runtime: str, name: str
) -> None:
    assert owner_in(files, group) == Owner(runtime, name, pid=811)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"Name": 7, "Config": []}', "[" * 100_000])
def test_broken_files_of_a_runtime_give_no_name(files: Path, content: str) -> None:
    written(files / "var/lib/docker/containers" / ID / "config.v2.json", content)
    written(files / "var/lib/containers/storage/overlay-containers/containers.json", content)
    assert owner_in(files, f"/docker/{ID}") == Owner("docker", ID[:12], pid=811)
    assert owner_in(files, f"/libpod-{ID}") == Owner("podman", ID[:12], pid=811)


# --- machines, made by hand -----------------------------------------------------------------------------

PARENT = Link("eth0", ifindex=2, flags=("UP", "LOWER_UP"), mtu=1500, lladdr="02:00:00:00:00:01")


def own_address(text: str) -> Address:
    return Address(ip_interface(text), scope="global")


def route(dst: str, dev: str, via: str | None = None, **fields: Any) -> Route:
    """Return a route of the main table, as `ip` prints it."""
    to = dst if dst == "default" else ip_network(dst)
    gateway = None if via is None else ip_address(via)
    nothing: dict[str, Any] = dict.fromkeys(("src", "metric", "scope", "protocol", "table", "pref"))
    empty: dict[str, Any] = {"flags": (), "nexthops": (), "details": {}, "unrecognised": ()}
    return Route(**{"type": "unicast", "dst": to, "via": gateway, "dev": dev, **nothing, **empty, **fields})


def host(*, routes: tuple[Route, ...] = (), proxied: tuple[str, ...] = (), **fields: Any) -> Inside:
    """Return the host's own namespace with eth0, 192.0.2.1/24 by default, and a gateway."""
    parent = replace(PARENT, addresses=(own_address("192.0.2.1/24"),))
    default = route("default", "eth0", "192.0.2.254")
    entries = tuple(Neighbour(address(ip), "eth0", None, (), ("proxy",), {}, ()) for ip in proxied)
    space = Space("/proc/self/ns/net", own=True)
    return Inside((4, 1), space, (replace(parent, **fields),), (default, *routes), entries)


def endpoint(
    number: int, *texts: str, netns: str = "", routes: tuple[Route, ...] = (), **fields: Any
) -> Inside:
    """Return a namespace with a link in it, s0 by default, which has these addresses."""
    space = (
        Space(f"/run/netns/{netns}", names=[netns])
        if netns
        else Space(f"/proc/{number}/ns/net", pids=[number])
    )
    link = Link("s0", flags=("UP", "LOWER_UP"), mtu=1500, kind="ipvlan", mode="l2", flag="bridge")
    link = replace(link, addresses=tuple(map(own_address, texts)))
    return Inside((4, number), space, (replace(link, **fields),), routes)


def machine(own: Inside, *others: Inside, names: Mapping[int, Owner] | None = None) -> Inspection:
    """Return what is found where all links of kinds that need a parent are on eth0 of `own`."""
    links = tuple(
        Placed(link, inside, (names or {}).get(inside.inode[1]))
        for inside in (own, *others)
        for link in inside.uppers
    )
    return Inspection((OnParent(Placed(own.links[0], own), links),), own)


def twin(found: Inspection) -> Twin:
    made = twin_of(found)
    assert made is not None
    return made


VIA = route("default", "s0", "192.0.2.254")


# --- the twin -------------------------------------------------------------------------------------------


def test_containers_with_the_same_link_name_are_endpoints_with_the_names_of_the_containers() -> None:
    names = {7: "web", 8: "a-name-that-is-too-long", 9: "a-name-that-is-too-short"}
    docker = {pid: Owner("docker", name, "nginx", pid) for pid, name in names.items()}
    each = [endpoint(n, f"192.0.2.{n}/24", ifname="eth0", mtu=1400) for n in docker]
    made = twin(machine(host(), *each, names=docker))
    assert [e.name for e in made.lab.endpoints] == ["web", "a-name-that-is-", "a-name-that-i-2"]
    assert {(e.dev, e.mtu, e.parent) for e in made.lab.endpoints} == {("eth0", 1400, "eth0")}
    assert made.notes == ()
    (parent,) = made.lab.parents
    assert parent.gateway == (address("192.0.2.254"),)
    assert parent.neighbour == (address("192.0.2.2"),)


def test_a_command_is_typed_for_the_namespace_that_an_endpoint_is_in() -> None:
    made = twin(machine(host(), endpoint(7, "192.0.2.7/24"), endpoint(8, "192.0.2.8/24", netns="b")))
    nameless, named = made.lab.endpoints
    typed = [
        str(made.here(Command(("ip", "netns", "exec", e.netns, *words))))
        for e in (nameless, named)
        for words in (("ip", "link", "show"), ("ping", "192.0.2.1"))
    ]
    assert typed == [
        "nsenter --net=/proc/7/ns/net ip link show",
        "nsenter --net=/proc/7/ns/net ping 192.0.2.1",
        "ip -n b link show",
        "ip netns exec b ping 192.0.2.1",
    ]
    assert str(made.here(Command(("ip", "link", "show")))) == "ip link show"


def test_what_a_lab_cannot_have_is_left_out_with_the_reason() -> None:
    made = twin(
        machine(
            host(),
            endpoint(7, "192.0.2.7/24"),
            endpoint(8, "192.0.2.7/24", netns="again"),
            endpoint(9, netns="bare"),
            endpoint(10, "192.0.2.10/24", ifname="if7"),
        )
    )
    assert len(made.lab.endpoints) == 1
    assert made.notes == (
        "left out, for every address is another link's: s0 in netns again",
        "left out, for it has no address: s0 in netns bare",
        "left out, for no command should have such a name: if7 in the namespace of process 10",
    )


def test_links_on_a_parent_elsewhere_are_left_out() -> None:
    own, there = host(), endpoint(7, "192.0.2.7/24", netns="a")
    router = replace(own, inode=(4, 3), space=Space("/run/netns/r", names=["r"]))
    (link,) = there.uppers
    on = OnParent(Placed(router.links[0], router), (Placed(link, there),))
    unknown = OnParent(None, (Placed(link, there),))
    assert twin_of(Inspection((on, unknown), own)) is None
    notes = review(Inspection((on, unknown), own)).notes
    assert notes == ()


def test_where_the_hosts_own_namespace_is_not_seen_its_twin_has_the_endpoints_alone() -> None:
    found = replace(machine(host(), endpoint(7, "192.0.2.7/24")), own=None)
    assert [e.addresses for e in twin(found).lab.endpoints] == [(ip_interface("192.0.2.7/24"),)]


def test_a_host_shim_counts_where_the_host_has_routes_through_it() -> None:
    shim = Link("shim", flags=("UP",), mtu=1500, kind="ipvlan", mode="l2", flag="bridge")
    shim = replace(shim, addresses=(own_address("192.0.2.99/32"),))

    def with_shim(*routes: Route) -> Twin:
        own = host(routes=routes)
        return twin(machine(replace(own, links=(*own.links, shim)), endpoint(7, "192.0.2.7/24")))

    made = with_shim(route("192.0.2.7/32", "shim"))
    (phase,) = made.lab.phases
    assert (phase.setting.host_shim, phase.setting.shim_addresses) == (True, (address("192.0.2.99"),))
    made = with_shim()
    assert not made.lab.phases[0].setting.host_shim
    assert len(made.notes) == 1
    for text, notes in (("192.0.2.99/32", 0), ("192.0.2.98/31", 1)):
        shim = replace(shim, addresses=(own_address(text),))
        assert len(with_shim(route("192.0.2.7/32", "shim")).notes) == notes


def test_proxy_entries_for_all_endpoints_are_a_strategy() -> None:
    each = [endpoint(n, f"192.0.2.{n}/24", mode="l3s") for n in (7, 8)]
    away = tuple(route(f"192.0.2.{n}/32", "lo") for n in (7, 8))
    made = twin(machine(host(proxied=("192.0.2.7", "192.0.2.8"), routes=away), *each))
    assert made.lab.phases[0].setting.strategy == "l3s-proxy"
    made = twin(machine(host(proxied=("192.0.2.7", "192.0.2.8")), *each))
    assert made.lab.phases[0].setting.strategy == "none"
    made = twin(machine(host(proxied=("192.0.2.7",), routes=away), *each))
    assert made.lab.phases[0].setting.strategy == "none"
    assert made.notes == ("a proxy entry of the host is left out: 192.0.2.7",)


def test_a_parent_without_an_address_has_the_subnets_of_its_endpoints() -> None:
    made = twin(
        machine(host(addresses=()), endpoint(7, "10.7.0.7/24", routes=(route("default", "s0", "10.7.0.1"),)))
    )
    (parent,) = made.lab.parents
    assert parent.subnets == (ip_network("10.7.0.0/24"),)
    assert parent.gateway == (address("10.7.0.1"),)


def test_a_default_route_of_one_family_is_none_of_the_other() -> None:
    both = ("192.0.2.7/24", "2001:db8::7/64")
    plain = route("default", "s0")
    made = twin(machine(host(), endpoint(7, *both, routes=(plain,))))
    (only_ipv4,) = made.lab.endpoints[0].routes or ()
    assert (only_ipv4.to, only_ipv4.via) == (ip_network("0.0.0.0/0"), None)
    made = twin(machine(host(), endpoint(7, *both, routes=(plain, route("default", "s0", pref="medium")))))
    (either,) = made.lab.endpoints[0].routes or ()
    assert (either.to, either.via) == (None, None)


# --- problems -------------------------------------------------------------------------------------------


def problems(found: Inspection) -> dict[str, tuple[str, list[str]]]:
    """Return the text and the commands of each problem that is more than information, by its code."""
    return {
        one.code: (one.what, list(map(str, one.commands)))
        for one in review(found).problems
        if one.severity != "info"
    }


def test_endpoints_in_l2_with_a_gateway_have_no_problem_but_that_of_the_host() -> None:
    found = review(machine(host(), endpoint(7, "192.0.2.7/24", routes=(VIA,))))
    assert [(one.code, one.severity) for one in found.problems] == [
        ("siblings", "info"),
        ("unreachable", "info"),
    ]
    assert found.problems[1].what.startswith("this host cannot reach 192.0.2.7: ")
    assert found.notes == ()


def test_an_endpoint_in_l3_is_unreachable_and_the_fix_is_of_this_machine() -> None:
    silent = [
        endpoint(n, f"192.0.2.{n}/24", mode="l3", netns=netns, routes=(route("default", "s0"),))
        for n, netns in ((7, "a"), (8, ""))
    ]
    what, commands = problems(machine(host(), *silent))["unreachable"]
    assert what.startswith("other hosts cannot reach 192.0.2.7, 192.0.2.8: ")
    assert "endpoint-" not in what
    assert "ip neigh add proxy 192.0.2.8 dev eth0" in commands
    assert any(line.startswith("ip -n a link set s0 type ipvlan mode l3s") for line in commands)


def silent_container() -> Inspection:
    """Return a machine with a container of Docker in l3, which no other host reaches."""
    web = endpoint(7, "192.0.2.7/24", ifname="eth0", mode="l3", routes=(route("default", "eth0"),))
    return machine(host(), web, names={7: Owner("docker", "web", "nginx", 7)})


def test_a_fix_is_the_cheapest_that_a_format_can_say_and_its_files() -> None:
    found = review(silent_container(), Dialect("docker"))
    (one,) = (one for one in found.problems if one.code == "unreachable" and one.severity == "error")
    # The cheapest of all, l3s-proxy, is nothing that Docker can say.
    assert one.advice.startswith("mode-l2: ")
    assert [line for line in one.fix_as if line.startswith(("+  ", "-  "))] == [
        "-      ipvlan_mode: l3",
        "+      ipvlan_mode: l2",
    ]
    text = render_table(found)
    assert "\n   " + "\n   ".join(one.fix_as) + "\n\n" in text
    assert not any(str(command) in text for command in one.commands)
    documented = {each["what"]: each["fix_as"] for each in json.loads(render_json(found))["findings"]}
    assert documented.pop(one.what) == list(one.fix_as)
    assert set(map(bool, documented.values())) == {False}


def test_where_a_format_can_say_no_fix_it_is_the_commands_with_the_reason() -> None:
    found = review(silent_container(), Dialect("networkd"))
    (one,) = (one for one in found.problems if one.fix_as)
    assert one.advice.startswith("l3s-proxy: ")
    assert one.fix_as[0].startswith("# systemd-networkd creates links in the host's namespace only")
    assert one.fix_as[1:] == tuple(map(str, one.commands))
    assert one.fix_as[1].startswith("nsenter --net=/proc/7/ns/net ip link set eth0 type ipvlan mode l3s")


@pytest.mark.parametrize(
    ("routes", "code", "command"),
    [
        ((), "no-default-route", "ip -n a route replace default via 192.0.2.254 dev s0"),
        (
            (route("default", "s0"),),
            "wrong-default-route",
            "ip -n a route replace default via 192.0.2.254 dev s0",
        ),
        (
            (route("default", "s0", "192.0.2.1"),),
            "wrong-default-route",
            "ip -n a route replace default via 192.0.2.254 dev s0",
        ),
    ],
)
def test_a_missing_or_wrong_default_route_is_replaced(
    routes: tuple[Route, ...], code: str, command: str
) -> None:
    found = problems(machine(host(), endpoint(7, "192.0.2.7/24", netns="a", routes=routes)))
    assert found[code][1] == [command]


def test_a_link_local_gateway_that_the_host_uses_is_one_for_ipv6() -> None:
    own = host(routes=(route("default", "eth0", "fe80::1", pref="medium"),))
    found = problems(machine(own, endpoint(7, "2001:db8::7/64", netns="a")))
    assert found["no-default-route"][1] == ["ip -n a route replace default via fe80::1 dev s0"]


def test_in_l3_the_default_route_needs_no_gateway() -> None:
    found = problems(machine(host(), endpoint(7, "192.0.2.7/24", mode="l3")))
    assert found["no-default-route"][1] == ["nsenter --net=/proc/7/ns/net ip route replace default dev s0"]


def test_states_mtus_and_duplicates_are_problems() -> None:
    found = problems(
        machine(
            host(flags=(), mtu=1400),
            endpoint(7, "192.0.2.7/24", netns="a", flags=()),
            endpoint(8, "192.0.2.7/24", netns="b", routes=(VIA,)),
        )
    )
    assert found["mtu"] == (
        "s0 in netns b has MTU 1500, above eth0's 1400: large packets get lost",
        ["ip -n b link set s0 mtu 1400"],
    )
    assert found["duplicate-address"][0] == "192.0.2.7 is an address of s0 in netns a, s0 in netns b"
    down = [one.commands for one in review(machine(host(flags=()))).problems if one.code == "link-down"]
    assert [str(command) for each in down for command in each] == ["ip link set eth0 up"]


def test_a_link_that_was_left_down_without_an_address_is_deleted() -> None:
    found = machine(host(), endpoint(7, netns="a", flags=()), endpoint(8, "192.0.2.8/24", flags=()))
    down = {str(one.commands[0]) for one in review(found).problems if one.code == "link-down"}
    assert down == {"ip -n a link delete s0", "nsenter --net=/proc/8/ns/net ip link set s0 up"}


@pytest.mark.parametrize(("kind", "needs_one"), [("ipvlan", True), ("ipvtap", True), ("macvlan", False)])
def test_an_ipvlan_link_gets_nothing_without_an_address_that_others_can_use(
    kind: str, needs_one: bool
) -> None:
    link_local = Address(ip_interface("fe80::7/64"), scope="link")
    peer = Address(ip_interface("10.0.0.7/32"), scope="global", peer=ip_interface("10.0.0.8/32"))
    for own in ((), (link_local,), (peer,), (link_local, peer)):
        found = problems(machine(host(), endpoint(7, netns="a", kind=kind, addresses=own)))
        assert [*found.items()] == [("no-address", ("s0 in netns a has no address", []))] * needs_one


def test_a_namespace_that_outlived_its_pod_keeps_its_addresses() -> None:
    there = [endpoint(n, f"192.0.2.{n}/24", netns=f"cni-{n}", routes=(VIA,)) for n in (7, 8)]
    owners_ = {7: Owner("cni", "shop/web-0"), 8: Owner("containerd", "shop/web-1", pid=8)}
    found = problems(machine(host(), *there, names=owners_))
    what = "s0 in netns cni-7 is of the pod shop/web-0, which has no process: 192.0.2.7 stays taken"
    assert found == {"pod-gone": (what, ["ip netns del cni-7"])}
    without = machine(host(), endpoint(7, netns="cni-7"), names=owners_)
    assert problems(without).keys() == {"no-address"}


def test_a_dummy_has_no_other_hosts() -> None:
    there = endpoint(7, "192.0.2.7/24", routes=(route("default", "s0"),))
    for kind in ("dummy", None):
        found = review(machine(host(kind=kind), there)).problems
        whats = [(one.severity, one.what) for one in found if one.code == "dummy"]
        nothing = "eth0 is a dummy: no other host is in its network, and so none reaches what is on it"
        assert whats == ([("info", nothing)] if kind else [])


def test_that_the_host_reaches_nothing_past_its_own_proxy_is_the_cost_of_that() -> None:
    own = host(routes=(route("192.0.2.7/32", "lo"),), proxied=("192.0.2.7",))
    there = endpoint(7, "192.0.2.7/24", mode="l3s", netns="a", routes=(route("default", "s0"),))
    found = [one for one in review(machine(own, there)).problems if one.code == "unreachable"]
    assert [(one.severity, one.commands) for one in found] == [("info", ())]
    assert found[0].what.startswith("this host cannot reach 192.0.2.7: ")
    assert found[0].advice == "none; it is the cost of l3s-proxy, by which other hosts reach them"


def test_sysctls_and_a_full_table_are_problems() -> None:
    shim = Link("shim", flags=("UP",), mtu=1500, kind="ipvlan", mode="l2", flag="bridge")
    shim = replace(shim, addresses=(own_address("192.0.2.99/32"),))
    own = host(routes=(route("192.0.2.7/32", "shim"),))
    found = machine(replace(own, links=(*own.links, shim)), endpoint(7, "192.0.2.7/24", routes=(VIA,)))
    strict = replace(found, parents=(replace(found.parents[0], rp_filter=1),))
    assert problems(found) == {}
    assert problems(strict)["rp-filter"][1] == ["sysctl -w net.ipv4.conf.eth0.rp_filter=2"]
    full = replace(found, tables=(Table("ipv4", 1000, 1024), Table("ipv6", 3, 1024)))
    assert problems(full)["neighbours"][1] == ["sysctl -w net.ipv4.neigh.default.gc_thresh3=4096"]


def test_what_another_link_would_do_is_reported() -> None:
    mac = machine(
        host(), endpoint(7, "192.0.2.7/24", kind="macvlan", mode="private", flag=None, routes=(VIA,))
    )
    assert "busy" in {one.code for one in review(mac).problems}
    l3 = machine(host(), endpoint(7, "192.0.2.7/24", mode="l3", routes=(route("default", "s0"),)))
    codes = {one.code for one in review(l3).problems}
    assert {"siblings", "nonlocal-bind"} <= codes
    assert "nonlocal-bind" not in {one.code for one in review(replace(l3, nonlocal_bind=True)).problems}


def test_one_parent_that_no_lab_can_describe_leaves_the_others() -> None:
    found = machine(host(), endpoint(7, "192.0.2.7/24", routes=(VIA,)))
    (on,) = found.parents
    assert on.parent is not None
    odd = replace(on, parent=replace(on.parent, link=replace(on.parent.link, ifname="if7")))
    seen = review(replace(found, parents=(odd, on)))
    assert [one.parent for one in seen.problems if one.code == "unreachable"] == ["eth0"]
    assert len(seen.notes) == 1
    assert seen.notes[0].startswith("the model cannot describe what is on if7: ")


def test_a_sysctl_that_the_rules_do_not_know_leaves_open_who_reaches_what() -> None:
    each = [endpoint(n, f"192.0.2.{n}/24", mode="l3", routes=(route("default", "s0"),)) for n in (7, 8)]
    found = machine(host(), *each)
    assert "unreachable" in {one.code for one in review(found).problems}
    seen = review(replace(found, sysctls=(("net.ipv4.icmp_echo_ignore_all", 1),))).problems
    assert "unreachable" not in {one.code for one in seen}
    assert [(one.severity, one.what) for one in seen if one.code == "not-modelled"] == [
        (
            "info",
            "it is not modelled whether others can reach 192.0.2.7, 192.0.2.8: "
            "net.ipv4.icmp_echo_ignore_all=1 of the host",
        )
    ]


# --- reports --------------------------------------------------------------------------------------------


def test_the_table_names_the_tag_of_a_vlan_and_the_mode_of_a_bond() -> None:
    vlan = host(ifname="bond0.20", kind="vlan", parent="bond0", info_data={"id": 20})
    title, *_ = render_table(review(machine(vlan, endpoint(7, "192.0.2.7/24")))).splitlines()
    assert title == "bond0.20: vlan, tag 20 on bond0, up, mtu 1500, 02:00:00:00:00:01, 192.0.2.1/24"
    bond = host(ifname="bond0", kind="bond", master="br0", info_data={"mode": "802.3ad"})
    title, *_ = render_table(review(machine(bond, endpoint(7, "192.0.2.7/24")))).splitlines()
    assert title.startswith(
        "bond0: bond, 802.3ad, up, mtu 1500, 02:00:00:00:00:01, port of br0, 192.0.2.1/24"
    )


def test_endpoints_in_a_separate_subnet_need_a_route_that_is_not_seen_from_here() -> None:
    there = endpoint(7, "10.104.0.7/24", mode="l3", routes=(route("default", "s0"),))
    found = {one.code: one for one in review(machine(host(), there)).problems}
    assert found["routed-elsewhere"].severity == "info"
    assert "only by a route to 10.104.0.0/24 via 192.0.2.1, which" in found["routed-elsewhere"].what
    assert found["unreachable"].what.startswith("this host cannot reach 10.104.0.7")
    assert not any(one.severity == "error" for one in found.values())


def alike(numbers: Iterable[int], *, mode: str = "l3", **fields: Any) -> Inspection:
    """Return a machine with an endpoint for each number, without a default route."""
    each = (endpoint(n, f"10.0.{n}.7/16", netns=f"e{n}", mode=mode, **fields) for n in numbers)
    return machine(host(addresses=(own_address("10.0.255.1/16"),)), *each)


def test_findings_of_many_links_are_one_with_the_commands_of_the_first() -> None:
    lines = (
        "2. warning, 6 times: s0 in netns e2 has MTU 9000, above eth0's 1500: large packets get lost;",
        "likewise s0 in netns e3, s0 in netns e4, s0 in netns e5 and 2 more",
        "ip -n e2 link set s0 mtu 1500",
        "# and 5 more; --json has all",
    )
    found = alike(range(2, 8), mode="l2", mtu=9000)
    text = render_table(review(found))
    assert "\n" + "\n   ".join(lines) + "\n\n" in text
    documented = [one["commands"] for one in json.loads(render_json(review(found)))["findings"]]
    assert [[f"ip -n e{n} link set s0 mtu 1500"] for n in range(2, 8)] == [
        c for c in documented if "mtu" in str(c)
    ]


def test_of_a_few_links_each_command_is_shown() -> None:
    text = render_table(review(alike(range(2, 4), flags=())))
    shown = "1. error, 2 times: s0 in netns e2 is down; likewise s0 in netns e3\n"
    assert f"\n{shown}   ip -n e2 link set s0 up\n   ip -n e3 link set s0 up\n\n" in text


def test_findings_with_another_cause_are_apart() -> None:
    own = host(addresses=(own_address("10.0.255.1/16"),))
    routes = (route("default", "s0"), route("default", "s0", "10.0.255.1"))
    each = [endpoint(n, f"10.0.{n}.7/16", netns=f"e{n}", routes=(routes[n % 2],)) for n in range(2, 6)]
    text = render_table(review(machine(own, *each)))
    assert "warning, 2 times: s0 in netns e2 has a default route without a gateway: " in text
    assert "warning, 2 times: s0 in netns e3 has its default route via 10.0.255.1, " in text
    assert "likewise s0 in netns e4\n" in text
    assert "likewise s0 in netns e5\n" in text


def test_duplicates_and_pods_that_are_gone_are_one_finding_each() -> None:
    pods = [endpoint(n, f"10.0.{n % 3}.7/16", netns=f"cni-{n}", routes=(VIA,)) for n in range(2, 8)]
    names = {n: Owner("cni", f"shop/web-{n}") for n in range(2, 8)}
    text = render_table(review(machine(host(addresses=(own_address("10.0.255.1/16"),)), *pods, names=names)))
    first = "s0 in netns cni-2 is of the pod shop/web-2, which has no process: 10.0.2.7 stays taken; likewise"
    assert f"warning, 6 times: {first}" in " ".join(text.split())
    twice = "10.0.2.7 is an address of s0 in netns cni-2, s0 in netns cni-5; likewise 10.0.0.7, 10.0.1.7"
    assert f"error, 3 times: {twice}" in " ".join(text.split())


@pytest.mark.parametrize("fields", [{"mtu": 9000}, {"mode": "l2", "mtu": 9000}, {"mode": "l2", "flags": ()}])
def test_the_findings_of_two_hundred_links_fit_a_screen(fields: dict[str, Any]) -> None:
    seen = review(alike(range(200), **fields))
    assert len(seen.problems) > 200
    _, _, findings = render_table(seen).partition("\n\n")
    assert len(findings.splitlines()) <= 40


def test_a_table_without_links_says_so_and_what_was_not_seen() -> None:
    nothing = Inspection((), unseen=("netns a",), hidden=2)
    first, _, *notes = render_table(Review(nothing, ())).splitlines()
    assert first == "no ipvlan, ipvtap or macvlan link was found"
    assert notes[0] == "note: not looked into: netns a"
    what = "the namespaces of 2 processes that this user may not see"
    assert notes[1].startswith(f"note: not looked into: {what}")


def test_only_what_is_on_one_parent_is_shown_by_any_of_its_names() -> None:
    found = machine(host(altnames=("enp0s3",)), endpoint(7, "192.0.2.7/24"))
    assert only(found, "enp0s3") == only(found, "eth0") == found
    assert only(found, "eth1").parents == ()


@given(hostile_texts(), st.sampled_from(["link", "netns", "owner"]))
def test_hostile_names_stay_text(text: str, place: str) -> None:
    there = endpoint(7, "192.0.2.7/24", mode="l3")
    if place == "link":
        there = replace(there, links=(replace(there.links[0], ifname=text),))
    if place == "netns":
        there = replace(there, space=Space("/proc/7/ns/net", names=[text]))
    owner = Owner("docker", text if place == "owner" else "web", text, 7)
    seen = review(machine(host(), there, names={7: owner}))
    table = render_table(seen)
    assert all(line.isprintable() for line in table.split("\n"))
    document = json.loads(render_json(seen))
    assert document["parents"][0]["links"][0]["owner"]["image"] == text
    spaces = Spaces(None, {(4, 7): there.space, (4, 8): Space(f"/proc/7/root/{text}")}, 0)
    assert all(line.isprintable() for line in preview(spaces, views(spaces)).split("\n"))


@given(st.datetimes(min_value=datetime(1970, 1, 1)), st.text(), st.sampled_from([False, True]))
def test_a_look_is_below_its_time_and_clears_only_a_terminal(now: datetime, text: str, clear: bool) -> None:
    shown = timed(text, now, clear=clear)
    head, _, rest = shown.partition("\n\n")
    assert rest == f"{text}\n"
    assert head.startswith("\x1b[H\x1b[2J") == clear
    assert datetime.fromisoformat(head.partition("--- ")[2]) == now.replace(microsecond=0)


@pytest.mark.parametrize("other", ["--json", "--dry-run"])
def test_what_is_watched_is_a_table(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--watch", other]) == 2
    assert f"error: --watch does not go with {other}\nhint: " in capsys.readouterr().err


# --- a machine of which `ip` shows the namespaces -------------------------------------------------------


def as_shown(ifname: str, ifindex: int, lladdr: str, kind: str = "", **fields: object) -> dict[str, object]:
    """Return a link as ``ip -json -details addr show`` prints it."""
    info = {"linkinfo": {"info_kind": kind, "info_data": {"mode": "l2"}}} if kind else {}
    named = {"ifname": ifname, "ifindex": ifindex, "address": lladdr, "link_type": "ether"}
    return {**named, "flags": ["UP"], "mtu": 1500, "addr_info": [], **info, **fields}


def test_a_link_is_shown_on_its_parent_in_whatever_namespace() -> None:
    """In another one the kernel gives the number of the parent, and of a tap not even its own as such."""
    mac, other, third = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))
    elsewhere = {"link_index": 2, "link_netnsid": 0}
    links = {
        "/proc/self/ns/net": [
            *(as_shown("eth0", 2, mac), as_shown("eth1", 3, other)),
            as_shown("shim", 8, mac, "ipvlan", link="eth0"),
        ],
        "/run/netns/a": [
            as_shown("s0", 5, mac, "ipvlan", **elsewhere),
            as_shown("tap", 3, third, "macvtap"),
            as_shown("lost", 6, third, "macvlan", link_index=9, link_netnsid=0),
        ],
        # With the number of eth0, and another MAC address.
        "/run/netns/b": [as_shown("eth9", 2, third), as_shown("x", 7, other, "macvlan", link="eth9")],
    }
    printed = {path: "\n".join(map(json.dumps, (shown, [], [], [], []))) for path, shown in links.items()}
    # One that ended meanwhile, and one of a kernel that has no rules.
    printed |= {"/run/netns/c": "[]\n[]\n[]", "/run/netns/d": "[]\n[]\n[]\n[]"}

    def answer(command: Command) -> Completed:
        if command.argv[0] != "sh":
            return Completed(0, printed["/proc/self/ns/net"], "", 0.0)
        paths = command.argv[2:]
        return Completed(0, "".join(f"netns: {path}\n{printed[path]}\n" for path in paths), "", 0.0)

    spaces = {(4, n): Space(path, own=path.startswith("/proc")) for n, path in enumerate(printed)}
    owner = Owner("docker", "web")
    read = {"ipv4/conf/eth0/rp_filter": "1", "ipv4/conf/eth9/rp_filter": "1"}
    around = Around(
        Spaces((4, 0), spaces, 0), lambda key: read.get(str(key), ""), lambda _: owner, here=False
    )
    with Agent(Scripted(answer), SimpleQueue()) as agent:
        found = inspect(agent, around=around)
    assert found.unseen == ("the namespace /run/netns/c",)
    assert {
        (on.parent and (on.parent.inside.space.path, on.parent.link.ifname)): (
            [(one.inside.space.path, one.link.ifname, one.owner) for one in on.links],
            on.rp_filter,
        )
        for on in found.parents
    } == {
        ("/proc/self/ns/net", "eth0"): (
            [("/proc/self/ns/net", "shim", None), ("/run/netns/a", "s0", owner)],
            1,
        ),
        ("/proc/self/ns/net", "eth1"): ([("/run/netns/a", "tap", owner)], 0),
        ("/run/netns/b", "eth9"): ([("/run/netns/b", "x", owner)], 0),
        None: ([("/run/netns/a", "lost", owner)], 0),
    }


# --- this machine ---------------------------------------------------------------------------------------

WORLD = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0; ip link set p0 up; ip link set q0 up; ip addr add 192.0.2.1/24 dev p0
ip netns add a; ip link add m0 link p0 netns a type macvlan mode private
ip -n a addr add 192.0.2.7/24 dev m0; ip -n a link set m0 up
ip netns add b; ip link add m0 link p0 netns b type macvlan; sleep 60 9</run/netns/b &
until [[ -e /proc/$!/fd/9 ]]; do sleep 0.05; done; ip netns del b
ip netns add c; ip link add m0 link p0 netns c type macvlan
touch '/run/a b'; mount --bind /run/netns/c '/run/a b'; ip netns del c
# A parent with the number of p0 in another namespace, so that the number does not decide.
number=$(ip -o link show p0); number=${number%%:*}
ip netns add d; ip -n d link add r0 index "$number" type veth peer name r1
ip -n d link add m1 link r0 netns a type macvlan
$1 inspect --json >/run/seen || true
mkdir -p /run/docker/netns; chmod 0 /run/docker
unshare --user $1 inspect
python3 -c 'import json; print(json.dumps(json.load(open("/run/seen"))))'
"""


@pytest.mark.long
@needs_namespaces
def test_root_sees_all_and_another_user_what_is_visible() -> None:
    done = subprocess.run(
        [
            *(*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child"),
            *("bash", "-euc", WORLD, "bash", f"{sys.executable} -m ipvkit"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *table, document = done.stdout.splitlines()
    seen = {
        (on["parent"]["dev"], on["parent"]["netns"], link["dev"], link["netns"], link["path"].split("/")[-1])
        for on in json.loads(document)["parents"]
        for link in on["links"]
    }
    assert seen == {
        ("p0", None, "m0", "a", "a"),
        ("p0", None, "m0", None, "9"),
        ("p0", None, "m0", None, "a b"),
        ("r0", "d", "m1", "a", "a"),
    }
    assert table[0] == "no ipvlan, ipvtap or macvlan link was found"
    assert table[2] == "note: not looked into: /run/docker/netns, netns a, netns d, the namespace /run/a b"
    assert table[3].startswith("note: not looked into: the namespaces of ")


AMBIGUOUS = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0; ip netns add a; ip netns add b; ip netns add d
number=$(ip -o link show p0); number=${number%%:*}
ip -n d link add r0 index "$number" type veth peer name r1
ip link add m0 link p0 netns a type macvlan
ip -n d link add m1 link r0 netns b type macvlan
"""
INSPECTS = """\
from queue import SimpleQueue
from ipvkit.host.inspect import inspect
from ipvkit.targets.agent import Agent
from ipvkit.targets.local import Local
with Agent(Local(), SimpleQueue()) as agent:
    for on in inspect(agent).parents:
        print(*(f"{one.link.ifname} {one.inside.space}" for one in (on.parent, *on.links)), sep=", ")
"""


@needs_namespaces
def test_of_two_parents_with_one_number_the_namespace_of_the_link_knows_which_it_is() -> None:
    found = printed_in(AMBIGUOUS, INSPECTS)
    assert sorted(found) == ["p0 the host's namespace, m0 netns a", "r0 netns d, m1 netns b"]


MANY = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0
for number in {1..45}; do ip netns add "n$number"; ip link add m0 link p0 netns "n$number" type macvlan; done
# Of a tap the kernel reports no number of its parent here.
ip link add t0 link q0 type macvtap
# One of which ip shows nothing does not end what shows the others.
mkdir /run/bin
cat >/run/bin/nsenter <<'END'
#!/bin/sh
case $1 in *n7) exit 1;; esac
exec /usr/bin/nsenter "$@"
END
chmod 755 /run /run/bin /run/bin/nsenter
PATH=/run/bin:$PATH $1 inspect --json
"""


@pytest.mark.extra
@pytest.mark.long
@needs_namespaces
def test_each_of_many_namespaces_is_looked_into() -> None:
    done = subprocess.run(
        [*IN_NAMESPACES_OF_ITS_OWN, "bash", "-euc", MANY, "bash", f"{sys.executable} -m ipvkit"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    seen = json.loads(done.stdout)
    names = [link["netns"] for on in seen["parents"] for link in on["links"] if link["dev"] == "m0"]
    assert [on["parent"]["dev"] for on in seen["parents"] if on["links"][0]["dev"] == "t0"] == ["q0"]
    assert sorted(names) == sorted(f"n{number}" for number in range(1, 46) if number != 7)
    assert seen["unseen"] == ["netns n7"]


WATCHED = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0; ip link set p0 up; ip netns add a
ip link property add dev q0 altname sw.20
shown() { until grep -qs "$1" /run/seen; do kill -0 "$watching"; sleep 0.1; done; }
$1 inspect --watch >/run/seen & watching=$!
shown 'no ipvlan, ipvtap or macvlan link was found'
ip link add m0 link p0 type macvlan; ip link set m0 netns a
shown 'm0 .* netns a .* down'
ip -n a addr add 192.0.2.7/24 dev m0; ip -n a link set m0 up
shown 'm0 .* 192.0.2.7/24 .* up'
kill -TERM "$watching"; code=0; wait "$watching" || code=$?
grep -c '^--- ' /run/seen
$1 inspect --watch --parent sw.20 >/run/seen & watching=$!
shown 'no ipvlan, ipvtap or macvlan link was found on sw.20'
ip -n a link delete m0; ip link add m1 link q0 type macvlan; ip link set m1 netns a
shown 'm1 .* netns a .* down'
kill -TERM "$watching"; wait "$watching" || [[ $? == 130 ]]
# No process has outlived it.
echo "$code" /proc/[0-9]*/exe
{ $1 inspect --watch; echo "$?" >/run/code; } | head -n 1 >/dev/null &
until [[ -s /run/code ]]; do ip link set p0 alias "$RANDOM"; sleep 0.5; done
cat /run/code
"""


@pytest.mark.long
@needs_namespaces
def test_what_is_watched_is_shown_again_when_it_has_changed() -> None:
    done = subprocess.run(
        [
            *(*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child"),
            *("bash", "-euo", "pipefail", "-c", WATCHED, "bash", f"{sys.executable} -m ipvkit"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    looks, ended, without_reader = done.stdout.splitlines()
    assert int(looks) >= 3
    assert ended == "130 /proc/1/exe"
    assert without_reader == "0"
