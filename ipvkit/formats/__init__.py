"""The formats that people deploy with: one file a format, with what it reads, writes and cannot say."""

from importlib import import_module

from ipvkit.formats.base import Format

_NAMES = (
    "cni",
    "docker",
    "podman",
    "lxc",
    "incus",
    "networkd",
    "networkmanager",
    "ifupdown",
)
FORMATS: tuple[Format, ...] = tuple(import_module(f"ipvkit.formats.{name}").FORMAT for name in _NAMES)
"""All formats, each of a module of its name, in the order in which a text is recognised."""

BY_NAME = {each.name: each for each in FORMATS}
