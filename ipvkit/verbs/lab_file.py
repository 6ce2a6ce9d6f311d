"""The lab that a person names, one of the gallery or a file, and the real network that it is put on."""

import os.path
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from ipvkit import lab as lab_room
from ipvkit.core.errors import UsageError, printable
from ipvkit.core.values import Address, InterfaceAddress, any_address, is_link_local, route_destination
from ipvkit.lab import FAR, Family, Lab, gallery, on_parent
from ipvkit.lab.fields import MOST_CHARACTERS, Source
from ipvkit.lab.format import load
from ipvkit.lab.parts import family_of

_ENDINGS = (
    *(".yaml", ".yml", ".json", ".conf", ".conflist", ".network", ".netdev", ".nmconnection"),
    *(".container", ".pod"),
)


_SCHEMA = Path(lab_room.__file__).with_name("lab.schema.json")


def for_editors(text: str) -> str:
    """Return the text of a lab file after a line from which editors know the schema that is installed."""
    return f"# yaml-language-server: $schema={_SCHEMA.as_uri()}\n{text}"


def is_path(name: str) -> bool:
    """Return whether `name` is the path of a file or folder, not the name of a gallery lab."""
    return "/" in name or name == "." or name.endswith(_ENDINGS)


def load_lab(name: str) -> Lab:
    """Return the lab in the gallery called `name`, or in the file of that path, which may be another tool's.

    A folder stands for the other tool's files in it. What they leave open is printed on stderr.
    """
    if not is_path(name):
        return load(gallery.text(name), f"{name}.yaml")
    first, *others = sources_at(name)
    if others or "phases" not in first.text:
        # A lab needs none of these.
        from ipvkit.verbs import formats

        if others or formats.recognised(first):
            lab, notes = formats.read([first, *others])
            print(*(f"note: {printable(note)}\n" for note in notes), sep="", end="", file=sys.stderr)
            return lab
    return load(first.text, name)


def sources_at(name: str) -> list[Source]:
    """Return the file of that path, or those of another tool's formats in the folder.

    Raise UsageError where one cannot be read, or none is there.
    """
    # Path.is_dir() fails where a name is too long.
    if not os.path.isdir(name):  # noqa: PTH112
        try:
            return [_source_of(name)]
        except UnicodeDecodeError:
            raise UsageError(f"the file {name!r} cannot be read: not UTF-8 text") from None
    # A lab needs none of these.
    from ipvkit.verbs import formats

    found = []
    try:
        # A unit has drop-ins in a folder beside it.
        path = Path(name)
        each = sorted(file for file in (*path.iterdir(), *path.glob("*.d/*")) if _may_configure(file))
    except OSError as problem:
        raise UsageError(f"the folder {name!r} cannot be read: {problem.strerror}") from None
    for file in each:
        with suppress(UnicodeDecodeError):
            found.append(_source_of(str(file)))
    known = [source for source in found if formats.is_drop_in(source) or formats.recognised(source)]
    if not any(map(formats.recognised, known)):
        raise UsageError(f"no file of a known format is in {name!r}", "such as compose.yaml or lan.network")
    return known


def _may_configure(file: Path) -> bool:
    """Return whether a tool would read `file` by its name: it has one of the endings, or none."""
    return file.is_file() and (file.suffix in _ENDINGS or "." not in file.name)


def _source_of(name: str) -> Source:
    """Return the file of that path; raise UsageError where it cannot be read, or UnicodeDecodeError."""
    try:
        with Path(name).open(encoding="utf-8") as file:
            # One more than there may be, which `load` refuses.
            return Source(name, file.read(MOST_CHARACTERS + 1))
    except OSError as problem:
        raise UsageError(f"the file {name!r} cannot be read: {problem.strerror}") from None


def is_lab(name: str) -> bool:
    """Return whether `name` is a gallery lab or a path."""
    return is_path(name) or name in gallery.names()


def node_of(lab: Lab, text: str) -> tuple[str, Family | None]:
    """Return the node of `lab` with this name, namespace or address, and of an address its family.

    Raise UsageError for an unknown address, and a namespace that several hosts have.
    """
    try:
        wanted = any_address(text)
    except UsageError:
        inside = [e.name for e in lab.endpoints if e.netns == text and not lab.is_endpoint(text)]
        if len({*map(lab.place, inside)}) > 1:
            what = f"several hosts have a namespace {text}"
            raise UsageError(what, f"choose from {', '.join(inside)}") from None
        return next(iter(inside), text), None
    nodes = {own.ip: endpoint.name for endpoint in lab.endpoints for own in endpoint.addresses}
    nodes |= {own.ip: FAR for own in lab.far}
    for parent in lab.parents:
        nodes |= {own.ip: peer.name for peer in parent.peers for own in peer.addresses}
        nodes |= {own.ip: parent.on for own in parent.host}
    if wanted not in nodes:
        hint = "neighbour stands for any other host of the subnet, far for one behind the gateway"
        raise UsageError(f"no node of lab {lab.name} has {wanted}", hint)
    return nodes[wanted], family_of(wanted)


def subnet_of(text: str | None) -> IPv4Network | None:
    """Return the IPv4 network that `text` writes; raise UsageError for any other."""
    if text is None:
        return None
    found = route_destination(text)
    if not isinstance(found, IPv4Network):
        raise UsageError(f"{text!r} is not an IPv4 subnet", "such as 10.104.0.0/16; --ipv6 adds IPv6")
    return found


@dataclass(frozen=True, slots=True)
class RealNetwork:
    """What is known of a real network before looking; without `parent` the lab's LAN is simulated."""

    parent: str
    addresses: Mapping[str, InterfaceAddress]
    gateway: Address | None
    neighbour: Address | None

    def previewed(self, lab: Lab) -> Lab:
        """Return `lab` on this network, as far as it is known without looking at the machine."""
        if not self.parent:
            return lab
        known = (gateway for gateway in lab.parents[0].gateway if not is_link_local(gateway))
        gateway = self.gateway or next(known, None)
        addresses, neighbour = self.addresses, self.neighbour
        return on_parent(lab, self.parent, addresses=addresses, gateway=gateway, neighbour=neighbour)
