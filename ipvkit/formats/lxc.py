"""LXC: the config of a container, with links of type ipvlan.

Source: lxc.container.conf(5), and src/lxc/confile.c and src/lxc/network.c of LXC 6.0.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import ip_network
from itertools import count, takewhile
from typing import TypeVar

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import (
    Address,
    InterfaceAddress,
    any_address,
    interface_address,
    interface_name,
    netns_name,
)
from ipvkit.formats.base import Beyond, File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, merged, on_parent
from ipvkit.formats.texts import vlans
from ipvkit.formats.units import Section, every, last
from ipvkit.lab import Endpoint, Family, Setting
from ipvkit.lab.fields import Field, Source, at_line, file_in_messages
from ipvkit.lab.parts import FAMILIES, FLAGS, MODES, Route, family_of, is_next_hop
from ipvkit.strategies.l3s_proxy import L3sProxy, sysctls
from ipvkit.tools import ip, sysctl

_FOLDER, _SHARED = "/var/lib/lxc", "/usr/share/lxc/config/"
_PROXY = L3sProxy.name

_NET = re.compile(r"(lxc\.net\.(?:0|[1-9][0-9]{0,8}))\.")
_KEYS = (
    *("type", "link", "name", "mtu", "flags", "ipvlan.mode", "ipvlan.isolation", "l2proxy"),
    *("ipv4.address", "ipv4.gateway", "ipv6.address", "ipv6.gateway"),
)
"""The keys of an ipvlan link that are read."""

_CLASSES = ((128, 8), (192, 16), (224, 24))
"""The prefix length of each class of IPv4 addresses, after the first byte that is beyond the class."""

OfFamily = TypeVar("OfFamily", Address, InterfaceAddress)
_IN_WORDS: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}


def recognises(text: str) -> bool:
    """Return whether `text` configures a network of a container."""
    return re.search(r"^[ \t]*lxc\.net(\.|work\.)", text, re.MULTILINE) is not None


def read(sources: Sequence[Source]) -> Deployment:
    """Return what LXC would create, an endpoint for each ipvlan link of a container."""
    notes: list[str] = []
    found = [each for source in sources for each in _container(source, notes)]
    proxied = {on.parent.name: name for name, on in found if on.setting.strategy == _PROXY}
    for name, on in found:
        parent, setting = on.parent.name, on.setting
        if setting.mode == "l3s" and setting.strategy != _PROXY and parent in proxied:
            what = f"{proxied[parent]} has `l2proxy` and {name} has not, both on {parent}"
            raise InvalidLab(what, f"a lab has strategy {_PROXY} for all endpoints on a parent, or for none")
    return Deployment("lxc", merged(found), tuple(notes))


def _container(source: Source, notes: list[str]) -> Iterator[tuple[str, OnParent]]:
    """Yield each ipvlan link of a container, after its name, as what is on its parent."""
    *_, folder, file = f"/{source.file}".split("/")
    hostname = ""
    found: dict[str, list[Field]] = {}
    for line in _lines(source):
        named = _NET.match(line.name)
        if named:
            found.setdefault(named[1], []).append(line)
        elif line.name == "lxc.net":
            found.clear()
        elif line.name.startswith("lxc.net"):
            raise line.wrong("LXC knows no such key", "`lxc-update-config` rewrites a config of LXC 2")
        elif line.name == "lxc.uts.name":
            hostname = line.text()
        elif line.name == "lxc.include" and not line.text().startswith(_SHARED):
            notes.append(f"{line.place}: {line.text()} is not read")
        elif line.name.startswith("lxc.hook."):
            notes.append(f"{line.place}: what a hook changes is left out")
    nets = [Section(name, lines[0].place, tuple(lines)) for name, lines in found.items()]
    nets.sort(key=lambda net: int(net.name.rpartition(".")[2]))
    netns = netns_for((file == "config" and folder) or hostname or file.removesuffix(".conf"))
    devs = names([_last(net, "name") for net in nets])
    links = [(net, dev) for net, dev in zip(nets, devs, strict=True) if _is_ipvlan(_last(net, "type"))]
    if not links:
        what = f"{file_in_messages(source)}: it has no link of type ipvlan"
        raise InvalidLab(what, "ipvkit reads those with `lxc.net.0.type = ipvlan`")
    for number, (net, dev) in enumerate(links):
        name = f"{netns}-{dev}" if number else netns
        yield name, _on_parent(net, Endpoint(name, (), netns, "", dev=dev), notes)


def _lines(source: Source) -> Iterator[Field]:
    """Yield the lines of a config, each with its key as name; LXC ignores those without lxc. at the front."""
    file = file_in_messages(source)
    for number, line in enumerate(source.text.split("\n")):
        key, equals, value = map(str.strip, line.partition("="))
        if key.startswith("lxc."):
            quoted = value[:1] in ("'", '"') and len(value) > 1 and value[-1] == value[0]
            found = at_line(value[1:-1] if quoted else value, file, number, key)
            if not equals:
                raise found.wrong("a line without `=`", "write it as in `lxc.net.0.type = ipvlan`")
            yield found


def _last(net: Section, key: str) -> Field | None:
    return last([net], f"{net.name}.{key}")


def _needed(net: Section, key: str, hint: str) -> Field:
    found = _last(net, key)
    if found is None:
        raise InvalidLab(f"{net.place}: `{net.name}.{key}` is missing", hint)
    return found


def _is_ipvlan(kind: Field | None) -> bool:
    return kind is not None and kind.text() == "ipvlan"


def netns_for(called: str) -> str:
    """Return the name of a namespace for the container that is `called` so.

    >>> netns_for("101")
    'lxc-101'
    """
    plain = re.sub("[^A-Za-z0-9_.+-]", "-", called)[:100]
    with suppress(UsageError):
        return netns_name(plain)
    return f"lxc-{plain}"


def names(given: Sequence[Field | None]) -> Iterator[str]:
    """Yield the names of links: where none is `given` the first that is free, as the kernel chooses it."""
    taken = {field.checked(interface_name) for field in given if field}
    free = (name for name in map("eth{}".format, count()) if name not in taken)
    return (field.text() if field else next(free) for field in given)


def _on_parent(net: Section, endpoint: Endpoint, notes: list[str]) -> OnParent:
    """Return what is on the parent of an ipvlan link, which is `endpoint` with what the lines say."""
    kind = f"{net.name}.type"
    for line in takewhile(lambda line: line.name != kind or not _is_ipvlan(line), net.keys):
        if line.name.startswith(f"{net.name}.ipvlan."):
            raise line.wrong(f"LXC takes it only after `{kind} = ipvlan`", "move it below that line")
    for line in net.keys:
        _check_key(net, line, line.name.removeprefix(f"{net.name}."), notes)
    link = _needed(net, "link", f"name the parent, as in `{net.name}.link = eth0`")
    _needed(net, "flags", f"add `{net.name}.flags = up`: without it LXC leaves the link down")
    addresses = tuple(own for family in FAMILIES for own in _addresses(net, family, notes))
    if not addresses:
        _needed(net, "ipv4.address", "add it: what is configured in the container is not read")
    routes = tuple(route for family in FAMILIES for route in _default(net, family, addresses))
    mtu = _last(net, "mtu")
    own = replace(
        endpoint, addresses=addresses, routes=routes, mtu=mtu.number("MTU", 68, 65535) if mtu else None
    )
    return on_parent(link.checked(interface_name), _setting(net, notes), [own])


def _check_key(net: Section, line: Field, key: str, notes: list[str]) -> None:
    """Note a script, and refuse what LXC refuses."""
    if key in _KEYS or not line.text():
        return
    if key in ("script.up", "script.down"):
        notes.append(f"{line.place}: what a script changes is left out")
    elif key == "hwaddr":
        what = "LXC starts no container with it: an ipvlan link has the MAC address of its parent"
        raise line.wrong(what, "remove the line")
    else:
        near = get_close_matches(key, _KEYS, 1, 0.5)
        hint = f"did you mean `{net.name}.{near[0]}`?" if near else f"choose from {', '.join(_KEYS)}"
        raise line.wrong("an ipvlan link has no such key", hint)


def _setting(net: Section, notes: list[str]) -> Setting:
    mode, flag, proxy = (_last(net, key) for key in ("ipvlan.mode", "ipvlan.isolation", "l2proxy"))
    if mode is None:
        notes.append(f"{net.place}: without `{net.name}.ipvlan.mode` LXC takes l2, not l3 as in its manual")
    setting = Setting(
        mode.one_of(MODES) if mode else "l2",  # type: ignore[arg-type]
        flag.one_of(FLAGS) if flag else "bridge",  # type: ignore[arg-type]
    )
    if proxy is None or proxy.one_of(("0", "1")) == "0":
        return setting
    if setting.mode != "l3s":
        what = f"LXC starts no container with it in mode {setting.mode}"
        raise proxy.wrong(what, f"write `{net.name}.ipvlan.mode = l3s`")
    return replace(setting, strategy=_PROXY)


def _addresses(net: Section, family: Family, notes: list[str]) -> Iterator[InterfaceAddress]:
    for line in every([net], f"{net.name}.{family}.address"):
        own = of_family(line, family, line.checked(_address))
        if "/" not in line.text():
            notes.append(f"{line.place}: without a prefix length LXC takes /{own.network.prefixlen}")
        yield own


def of_family(field: Field, family: Family, value: OfFamily) -> OfFamily:
    """Return the `value` of a key such as ipv4.address; raise InvalidLab where it is of the other family."""
    other = family_of(value)
    if other != family:
        what = f"{value} is not of {_IN_WORDS[family]}"
        raise field.wrong(what, f"write it in `{field.name.replace(family, other)}`")
    return value


def _address(text: str) -> InterfaceAddress:
    """Return the address that `text` writes; the broadcast address behind it changes nothing in a lab.

    >>> _address("10.2.3.5 10.2.3.255")
    IPv4Interface('10.2.3.5/8')
    """
    first = text.split()[0]
    if "/" in first:
        return interface_address(first)
    own = any_address(first)
    usual = (length for beyond, length in _CLASSES if own.packed[0] < beyond)
    return interface_address(f"{own}/{next(usual, 32) if own.version == 4 else 64}")


def _default(net: Section, family: Family, addresses: Sequence[InterfaceAddress]) -> Iterator[Route]:
    """Yield the default route of a family, if the link has one."""
    lines = every([net], f"{net.name}.{family}.gateway")
    if not lines:
        return
    # LXC keeps a `dev` when another value follows.
    line = next((each for each in lines if each.text() == "dev"), lines[-1])
    if line.text() == "auto":
        what = "LXC finds a gateway for links of type veth and macvlan only"
        raise line.wrong(what, "write its address, or `dev` for a default route out of the link")
    if not any(family_of(own) == family for own in addresses):
        raise line.wrong(f"the link has no {_IN_WORDS[family]} address", f"add `{net.name}.{family}.address`")
    yield Route(DEFAULTS[family]) if line.text() == "dev" else default_via(line, family, addresses)


def default_via(field: Field, family: Family, addresses: Sequence[InterfaceAddress]) -> Route:
    """Return the default route of a link with these `addresses`, via the gateway that `field` names."""
    via = of_family(field, family, field.checked(any_address))
    if not is_next_hop(via, addresses):
        what = f"{via} is in no subnet of the link; LXC adds a route to it first"
        raise field.wrong(what, "a lab has gateways in a subnet only: take a shorter prefix length")
    return Route(DEFAULTS[family], via)


def write(deployment: Deployment) -> Written:
    """Return a config for each namespace with endpoints, and the calls that start and stop its container."""
    add, delete = vlans(deployment)
    links: dict[str, list[tuple[OnParent, Endpoint]]] = {}
    for on in deployment.parents:
        for endpoint in on.endpoints:
            links.setdefault(endpoint.netns, []).append((on, endpoint))
    files = tuple(File(f"{_FOLDER}/{name}/config", _config(name, own)) for name, own in links.items())
    start = (shlex.join(["lxc-start", "-n", name]) for name in links)
    stop = (shlex.join(["lxc-stop", "-k", "-n", name]) for name in links)
    return Written(files, (*add, *start), (*stop, *delete))


def _config(name: str, links: Sequence[tuple[OnParent, Endpoint]]) -> str:
    lines = [
        "# A lab knows no root file system: it is expected where lxc-create has it.",
        f"lxc.include = {_SHARED}common.conf",
        f"lxc.rootfs.path = dir:{_FOLDER}/{name}/rootfs",
        f"lxc.uts.name = {name}",
        "lxc.start.auto = 1",
    ]
    for number, (on, endpoint) in enumerate(links):
        lines += [*_hooks(on, endpoint)] if on.setting.strategy == _PROXY else []
        lines += [f"lxc.net.{number}.{key} = {value}" for key, value in _keys(on, endpoint)]
    return "".join(f"{line}\n" for line in lines)


def _keys(on: OnParent, endpoint: Endpoint) -> Iterator[tuple[str, object]]:
    yield from (("type", "ipvlan"), ("ipvlan.mode", on.setting.mode), ("ipvlan.isolation", on.setting.flag))
    yield from (("link", on.parent.name), ("name", endpoint.dev), ("flags", "up"))
    if on.setting.strategy == _PROXY:
        yield "l2proxy", 1
    if endpoint.mtu:
        yield "mtu", endpoint.mtu
    for own in endpoint.addresses:
        yield f"{family_of(own)}.address", own
    for route in endpoint.routes or ():
        yield f"{'ipv4' if route.to == DEFAULTS['ipv4'] else 'ipv6'}.gateway", route.via or "dev"


def _hooks(on: OnParent, endpoint: Endpoint) -> Iterator[str]:
    """Yield the lines that set what LXC needs for `l2proxy`, and that delete what it leaves behind."""
    parent, addresses = on.parent.name, [own.ip for own in endpoint.addresses]
    needed = sysctl.set_values(sysctls(parent, {own.version for own in addresses}))
    proxies = (ip.neigh_del_proxy(own, parent) for own in addresses)
    routes = (ip.route_del(ip.RouteTo(ip_network(own), dev="lo")) for own in addresses)
    yield f"lxc.hook.pre-start = sh -c '{needed}'"
    # Without it the route is there when the container starts again, which LXC takes for an error.
    yield f"lxc.hook.post-stop = sh -c '{'; '.join(map(str, (*proxies, *routes)))}'"


def beyond(deployment: Deployment) -> Iterator[Beyond]:
    """Yield the proxy that LXC refuses."""
    for on in deployment.parents:
        if on.setting.strategy == _PROXY and on.setting.mode != "l3s":
            yield f"strategy {_PROXY} in mode {on.setting.mode} on {on.parent.name}", "strategy"


FORMAT = Format(
    name="lxc",
    title="LXC",
    limits=Limits(
        flags=FLAGS,
        strategies=(*Limits().strategies, _PROXY),
        routes="default",
        why={
            "routes": "LXC gives a link default routes only; ipvkit export --format cni writes others",
            "strategy": f"LXC has `l2proxy`, which is {_PROXY}, in mode l3s",
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
    beyond=beyond,
)
