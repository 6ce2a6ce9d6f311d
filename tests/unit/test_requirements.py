"""requirements/ pins what setup.cfg and pyproject.toml ask for, and nothing else; else run scripts/lock."""

import re
import tomllib
from configparser import ConfigParser
from dataclasses import dataclass
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from documents import ROOT

CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
PYTHONS = re.findall(r":: (3\.\d+)$", CONFIG["metadata"]["classifiers"], re.MULTILINE)
EXTRAS = ("report", "test", "check", "slow")
"""In the order of scripts/lock: the file of each has what it adds to those before it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A package in requirements/, and the names of those that asked for it when the file was written."""

    requirement: Requirement
    hashes: list[str]
    via: list[str]

    def fits(self, requirement: Requirement) -> bool:
        """Return whether it has hashes, and one version that `requirement` takes."""
        return bool(self.hashes) and self.version in requirement.specifier

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def pinned(extra: str) -> list[Pin]:
    """Return the pins in the file of `extra`."""
    text = (ROOT / f"requirements/{extra}.txt").read_text()
    blocks = re.findall(r"^([a-z0-9][^\\\n]*)\\?\n((?: .*\n)*)", text, re.MULTILINE)
    hashes, via = r"--hash=sha256:([0-9a-f]{64})\b", r"# (?:via| ) +(\S+)"
    return [Pin(Requirement(line), re.findall(hashes, rest), re.findall(via, rest)) for line, rest in blocks]


def asked_by_ipvkit(extras: set[str]) -> list[Requirement]:
    """Return what ipvkit requires with `extras`."""
    options = [CONFIG["options"]["install_requires"]]
    options += [CONFIG["options.extras_require"][extra] for extra in extras]
    return [Requirement(line) for option in options for line in option.split("\n") if line]


def asked_by(pin: Pin, extras: set[str], pins: dict[str, Pin], python: str) -> list[Requirement]:
    """Return what a package requires, as installed where this version is, else as its pins name it."""
    name = pin.requirement.name
    installed = [one for one in metadata.distributions(name=name) if one.version == pin.version]
    if not installed:
        return [other.requirement for other in pins.values() if name in other.via]
    asked = map(Requirement, installed[0].requires or ())
    return [one for one in asked if any(applies(one, python, extra) for extra in ("", *extras))]


def applies(requirement: Requirement, python: str, extra: str = "") -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extras", [EXTRAS[: at + 1] for at in range(len(EXTRAS))], ids=",".join)
def test_all_that_the_extras_need_is_pinned_and_nothing_else(extras: tuple[str, ...], python: str) -> None:
    there = [pin for extra in extras for pin in pinned(extra) if applies(pin.requirement, python)]
    pins = {pin.requirement.name: pin for pin in there}
    assert len(pins) == len(there)

    waiting = [*asked_by_ipvkit(set(extras)), *map(Requirement, BUILD)]
    seen: set[tuple[str, frozenset[str]]] = set()
    missing: set[str] = set()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if name == "ipvkit":
            waiting += asked_by_ipvkit(asked.extras)
        elif name not in pins or not pins[name].fits(asked):
            missing.add(str(asked))
        elif (name, frozenset(asked.extras)) not in seen:
            seen.add((name, frozenset(asked.extras)))
            waiting += asked_by(pins[name], asked.extras, pins, python)
    assert (missing, pins.keys() - {name for name, _ in seen}) == (set(), set())
