"""What a format is: the files by which a tool is configured, read and written, and what they cannot say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import MAIN, MODES


@dataclass(frozen=True, slots=True)
class File:
    """A file that is written: its path on the machine, its text, and its permissions.

    `activate` are bash lines for it alone. Where a machine has such a file already, perhaps under another
    name, `adds` are what it is known by, and the lines that it needs.
    """

    path: str
    text: str
    mode: int = 0o644
    adds: tuple[str, ...] = ()
    activate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a deployment, and the bash lines that activate and that remove it, in this order.

    `activate` comes after the lines for single files; `notes` are what of it is in none of them, a line each.
    """

    files: tuple[File, ...]
    activate: tuple[str, ...]
    remove: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def activation(self) -> tuple[str, ...]:
        """The bash lines that activate all files."""
        return (*(line for file in self.files for line in file.activate), *self.activate)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a format can say; `why` names the nearest that it can say, by the name of what it cannot.

    `place` is where its links are: in the namespaces of endpoints, or in the host's own; it then writes the
    host's part of a deployment, without the endpoints. `routes` is which routes an endpoint can have: any,
    any via a gateway, or a default one. `mtu`: whether an endpoint's MTU. `several`: whether more than one
    address of a family. `vlan`: whether it creates a VLAN that is a parent; else its activation does.
    `persistent`: whether what it creates comes back after a reboot.
    """

    place: Literal["endpoints", "host"] = "endpoints"
    modes: tuple[Mode, ...] = MODES
    flags: tuple[Flag, ...] = ("bridge",)
    strategies: tuple[str, ...] = (Setting().strategy,)
    routes: Literal["any", "via", "default"] = "any"
    mtu: bool = True
    several: bool = True
    vlan: bool = False
    persistent: bool = True
    why: Mapping[str, str] = field(default_factory=dict)


Beyond = tuple[str, str]
"""What a format cannot say, and the name of that in `Limits.why`."""


def _nothing(_: Deployment) -> Iterator[Beyond]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how its text is recognised, read and written, and its limits.

    `read` raises InvalidLab with file, line and key for what it does not understand. `beyond` yields what it
    cannot say of a deployment besides what is beyond the limits.
    """

    name: str
    title: str
    limits: Limits
    recognises: Callable[[str], bool]
    read: Callable[[Sequence[Source]], Deployment]
    write: Callable[[Deployment], Written]
    beyond: Callable[[Deployment], Iterator[Beyond]] = _nothing

    def written(self, deployment: Deployment) -> Written:
        """Return the files of `deployment`; raise UsageError for what the format cannot say."""
        of_host = self.limits.place == "host"
        if of_host and not any(on.shim or on.parent.link for on in deployment.parents):
            what = f"{self.title} creates links in the host's namespace only"
            hint = "`host-shim: true` gives the host one, and --format cni writes endpoints"
            raise UsageError(f"{what}, and lab {deployment.name} has none there", hint)
        for what, name in (*beyond(deployment, self.limits), *self.beyond(deployment)):
            raise UsageError(f"{self.title} cannot say {what}", self.limits.why.get(name, _NEAREST))
        written = self.write(deployment)
        return replace(written, notes=(*written.notes, self._left_out(deployment))) if of_host else written

    def _left_out(self, deployment: Deployment) -> str:
        names = [endpoint.name for endpoint in deployment.endpoints]
        more = f" and {len(names) - _MOST_NAMED} others" if len(names) > _MOST_NAMED else ""
        where = "are in namespaces" if len(names) > 1 else "is in a namespace"
        what = f"which {self.title} does not create: export with another format too"
        return f"{', '.join(names[:_MOST_NAMED])}{more} {where}, {what}"


_MOST_NAMED = 5
"""How many endpoints a note names."""

_NEAREST = "ipvkit export-script writes it as ip commands"


def beyond(deployment: Deployment, limits: Limits) -> Iterator[Beyond]:
    """Yield what is in `deployment` beyond `limits`."""
    for on in deployment.parents:
        yield from _of_setting(on, limits)
        for endpoint in on.endpoints if limits.place == "endpoints" else ():
            yield from ((f"{what} of {endpoint.name}", name) for what, name in _of(endpoint, limits))


def _of_setting(on: OnParent, limits: Limits) -> Iterator[Beyond]:
    setting, parent, of_host = on.setting, on.parent.name, limits.place == "host"
    if on.shim or not of_host:
        if setting.kind != "ipvlan":
            yield f"{setting.kind} links on {parent}", "kind"
        if setting.mode not in limits.modes:
            yield f"mode {setting.mode} on {parent}", "mode"
        if setting.flag not in limits.flags:
            yield f"flag {setting.flag} on {parent}", "flag"
    if setting.strategy not in limits.strategies:
        yield f"strategy {setting.strategy} on {parent}", "strategy"
    if setting.host_shim and not of_host:
        yield f"a host shim on {parent}", "shim"


def _of(endpoint: Endpoint, limits: Limits) -> Iterator[Beyond]:
    if endpoint.mtu is not None and not limits.mtu:
        yield f"MTU {endpoint.mtu}", "mtu"
    versions = [own.version for own in endpoint.addresses]
    if len(versions) > len({*versions}) and not limits.several:
        yield "two addresses of a family", "several"
    if endpoint.rules or any(route.table != MAIN for route in endpoint.routes or ()):
        yield "rules and routing tables", "rules"
    for route in endpoint.routes or ():
        if route.type is not None:
            yield f"a route of type {route.type}", "routes"
        if limits.routes == "default" and route.to not in DEFAULTS.values():
            yield f"a route to {route.to}", "routes"
        if limits.routes == "via" and route.type is None and route.via is None:
            yield f"a route to {route.to} without a gateway", "routes"
    if endpoint.altnames:
        yield f"the alternative name {endpoint.altnames[0]}", "altnames"
    if endpoint.slaac:
        yield "an address from router advertisements", "slaac"
