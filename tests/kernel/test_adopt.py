"""`ipvkit adopt` is the inverse of the build: its lab gives the same links, routes and predictions again."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from differential import random_labs
from guest import in_guest
from ipvkit.core.errors import InvalidLab
from ipvkit.lab import FAMILIES, HOST, Check, Lab, Outcome, Setting
from ipvkit.lab.format import load
from ipvkit.predict.later import after
from ipvkit.predict.whole import predict
from ipvkit.predict.world import State, world_of
from test_guest import IPVKIT
from test_setups import built, shown

END = "=== end"


@dataclass(frozen=True)
class Adopted:
    """The first phase of a lab, what was there, and what adopt wrote, with its comments."""

    lab: Lab
    there: dict[tuple[str, str], Any]
    text: str

    @property
    def twin(self) -> Lab:
        return load(self.text, "twin.yaml")

    @property
    def notes(self) -> list[str]:
        return re.findall("^# note: (.*)", self.text, re.MULTILINE)


def first_phase(lab: Lab) -> Lab:
    """Return the first phase of `lab` without what happens in it, on the parents that endpoints are on."""
    phase = replace(lab.phases[0], acts=())
    on = {endpoint.parent for endpoint in lab.endpoints_of(phase)}
    on |= {parent.link for parent in lab.parents if parent.name in on and parent.link}
    parents = tuple(parent for parent in lab.parents if parent.name in on)
    endpoints = tuple(lab.endpoints_of(phase))
    phase = replace(phase, others=tuple(each for each in phase.others if each[0] in on))
    return replace(lab, parents=parents, endpoints=endpoints, phases=(phase,))


def adopted(labs: Sequence[Lab]) -> list[Adopted]:
    """Build each lab in one guest, and adopt it."""

    def with_adopt(lab: Lab) -> str:
        head, tail, _ = built(lab, "batch").rpartition("LAB\n")
        return f"{head}echo == adopted\n{IPVKIT} adopt\n{tail}echo '{END}'\n"

    said = in_guest("".join(map(with_adopt, labs)), 3600)
    found = []
    for lab, text in zip(labs, said.output.split(f"{END}\n"), strict=False):
        there, mark, written = text.partition("== adopted\n")
        assert mark, text
        assert "failed" not in there, text
        found.append(Adopted(lab, shown(there), written))
    return found


def rebuilt(each: Sequence[Adopted]) -> list[dict[tuple[str, str], Any]]:
    """Build the twins in another guest, and return what is there then."""
    script = "".join(f"{built(first_phase(one.twin), 'batch')}echo '{END}'\n" for one in each)
    texts = in_guest(script, 3600).output.split(f"{END}\n")[: len(each)]
    assert not any("failed" in text for text in texts), texts
    return [shown(text) for text in texts]


def differing(one: Adopted, again: dict[tuple[str, str], Any]) -> Iterator[str]:
    """Yield what is not the same in the host's namespace, and in those of endpoints."""
    spaces = {"", *(one.lab.endpoint(name).netns for name in one.lab.phases[0].endpoints)}
    for key in sorted({key for key in {*one.there, *again} if key[0] in spaces}):
        before, after_ = one.there.get(key, []), again.get(key, [])
        yield from (f"{key}: missing: {entry}" for entry in before if entry not in after_)
        yield from (f"{key}: new: {entry}" for entry in after_ if entry not in before)


def outcomes(lab: Lab, names: dict[tuple[str, str], str]) -> dict[tuple[str, str, str], Outcome]:
    """Return the prediction for each pair of endpoints and the host, by `names` for them, and each family."""
    phase = lab.phases[0]
    world = world_of(lab, phase, State())
    for act in phase.acts[:-1]:
        world = after(world, act)
    roles = {names[e.netns, e.dev]: e.name for e in lab.endpoints_of(phase)} | {HOST: HOST}
    found: dict[tuple[str, str, str], Outcome] = {}
    for source, destination, family in ((s, d, f) for s in roles for d in roles for f in FAMILIES if s != d):
        check = Check(roles[source], roles[destination], family=family)
        if lab.pinged(check) is not None:
            found[source, destination, family] = predict(world, check).outcome
    return found


OF_OTHER_HOSTS = ("announce", "routed", "static-neigh")
"""The strategies that other hosts have a part in, which a comment of each twin says that it does not see."""


def seen(lab: Lab) -> Lab:
    """Return `lab` with none of what is on other hosts for its endpoints."""
    (phase,) = lab.phases

    def own(setting: Setting) -> Setting:
        return replace(setting, strategy="none") if setting.strategy in OF_OTHER_HOSTS else setting

    others = tuple((name, own(setting)) for name, setting in phase.others)
    return replace(lab, phases=(replace(phase, setting=own(phase.setting), others=others),))


def drawn(count: int) -> list[Lab]:
    """Return the first phases of random labs, in which there are links that `inspect` finds."""
    labs = []
    for lab in (lab for lab in random_labs(2 * count, 7) if lab.phases[0].endpoints):
        with suppress(InvalidLab):
            phase = first_phase(lab)
            labs += (
                [phase]
                if not any(phase.phases[0].on(e.parent).kind == "veth" for e in phase.endpoints)
                else []
            )
    return labs[:count]


@pytest.mark.promise
@pytest.mark.parametrize("count", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_a_twin_is_what_was_there_or_says_what_it_leaves_out(count: int) -> None:
    each = adopted(drawn(count))
    # Most labs are described whole: what a note excuses stays an exception. Of 200, 38 have one: the name of
    # a host shim, a default route of the host, what router advertisements gave.
    assert sum(bool(one.notes) for one in each) <= count // 5
    for one, again in zip(each, rebuilt(each), strict=True):
        found = list(differing(one, again))
        assert not found or one.notes, (one.lab.name, found, one.text)
        names = {(e.netns, e.dev): e.name for e in one.lab.endpoints}
        assert one.notes or outcomes(one.twin, names) == outcomes(seen(one.lab), names), one.text
