"""The formats that people deploy with: one file a format, with what it reads, writes and cannot say."""

from ipvkit.formats import cni, docker, ifupdown, incus, lxc, networkd, networkmanager, podman
from ipvkit.formats.base import Format

FORMATS: tuple[Format, ...] = (
    cni.FORMAT,
    docker.FORMAT,
    podman.FORMAT,
    lxc.FORMAT,
    incus.FORMAT,
    networkd.FORMAT,
    networkmanager.FORMAT,
    ifupdown.FORMAT,
)
"""All formats, in the order in which a text is recognised."""

BY_NAME = {each.name: each for each in FORMATS}
