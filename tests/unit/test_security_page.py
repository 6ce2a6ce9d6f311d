"""What docs/explanation/security.md says that code can tell: it is so."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given

from differential import random_labs
from documents import ROOT, Document
from ipvkit.core.errors import InvalidLab
from ipvkit.lab import Lab, fields, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.targets.programs import PACKAGES, PASSED_ON, SEARCH_PATH
from ipvkit.verbs.lab_file import load_lab
from strategies import labs, labs_on_a_parent

PROSE = Document(ROOT / "docs" / "explanation" / "security.md").prose
PAGE = " ".join(" ".join(PROSE).split())


def quoted(text: str) -> list[str]:
    """Return what a text has between backquotes."""
    return re.findall(r"`([^`]+)`", text)


def after(start: str) -> str:
    """Return what the page says from there to the end of the sentence."""
    return PAGE.partition(start)[2].partition(". ")[0].partition("; ")[0]


OF_A_LAB = quoted(after("A lab runs "))
OF_A_CAPTURE = quoted(after("With `--capture` it runs "))
OF_TARGETS = quoted(after("Its target runs "))
OF_A_FETCH = quoted(after("`ipvkit kernels fetch` runs "))
OF_A_PICTURE = quoted(after("`ipvkit labs graph` runs "))


def all_commands(lab: Lab) -> Iterator[tuple[str, ...]]:
    plan = make_plan(lab)
    for step in plan.steps:
        yield step.command.argv
        if step.undo is not None:
            yield step.undo.command(step.undo.typical).argv


def programs_in(words: tuple[str, ...]) -> Iterator[str]:
    yield words[0]
    if words[:3] == ("ip", "netns", "exec"):
        yield from programs_in(words[4:])


@given(labs() | labs_on_a_parent())
def test_a_lab_runs_the_programs_that_are_listed(lab: Lab) -> None:
    started = {program for words in all_commands(lab) for program in programs_in(words)}
    assert started <= set(OF_A_LAB)


def test_every_program_that_ipvkit_knows_is_listed() -> None:
    known = "arping fping ip ping radvd sleep socat ss sysctl tc timeout"
    assert sorted(OF_A_LAB) == known.split()
    assert sorted(OF_A_CAPTURE) == ["base64", "find", "pgrep", "tcpdump"]
    assert set(PACKAGES) == {*OF_A_LAB, *OF_A_CAPTURE, *OF_TARGETS, "nsenter", *OF_A_FETCH, *OF_A_PICTURE}


_ROW = re.compile(r"\| `[a-zA-Z0-9_.]+`.* \| (this machine|the simulated \w+) \| ")


def listed() -> set[str]:
    """Return the sysctls of the page's table, with * for a link."""
    found = set()
    for row in (line for line in PROSE if _ROW.match(line)):
        names = quoted(row.split(" | ")[0])
        groups = [name for name in names if name.endswith(".DEV")]
        own = [name for name in names if name not in groups]
        found |= {f"{group}.{name}" for group in groups for name in own} if groups else set(own)
    return {name.replace("PARENT", "*").replace("DEV", "*") for name in found}


def written(lab: Lab) -> set[str]:
    """Return the sysctls that the commands of a lab write, with * for a link."""
    found: set[str] = set()
    for argv in all_commands(lab):
        if "sysctl" in argv and "-w" in argv:
            found |= {word.partition("=")[0] for word in argv[argv.index("-w") + 1 :]}
    return set(map(_with_a_star, found))


def _with_a_star(key: str) -> str:
    return re.sub(r"(net\.ipv[46]\.(?:conf|neigh))\.(?!all\.|default\.)[^.]+\.", r"\1.*.", key)


@given(labs() | labs_on_a_parent())
def test_a_lab_writes_no_sysctl_but_those_that_are_listed(lab: Lab) -> None:
    chosen = {one.key for phase in lab.phases for act in phase.acts for one in act.sysctls}
    assert written(lab) - listed() - {_with_a_star(key) for key in chosen} == set()


@pytest.mark.long
def test_every_sysctl_that_is_listed_is_written_by_some_lab() -> None:
    missing = listed().difference(*(written(load_lab(name)) for name in gallery.names()))
    # By fixed seeds: that one is missing by chance is no failure.
    seeds = iter(range(10))
    while missing and (seed := next(seeds, None)) is not None:
        missing = missing.difference(*map(written, random_labs(30, seed)))
    assert missing == set()


def test_what_is_passed_on_of_the_environment_is_listed() -> None:
    assert quoted(after("Commands get "))[:5] == list(PASSED_ON)
    assert quoted(PAGE.partition("of PATH, then in ")[2])[:3] == list(SEARCH_PATH)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MOST_CHARACTERS", "at most {} characters"),
        ("MOST_OF_ONE", "{} in one text"),
        ("MOST_NODES", "{} keys and values"),
        ("MOST_ENDPOINTS", "{} endpoints in all phases together"),
        ("MOST_OF_A_PART", "{} parents and addresses"),
        ("MOST_MOMENTS", "{} endpoints times moments"),
    ],
)
def test_the_bounds_are_those_of_the_code(name: str, says: str) -> None:
    assert says.format(f"{getattr(fields, name):,}") in PAGE


LAB = """\
name: bounds
about: y
parent: eth0
network: {host: 192.0.2.1/24, gateway: 192.0.2.254}
endpoints: [{name: a, addresses: 192.0.2.2/24, mtu: MTU}]
phases: [{name: p, mode: l2, do: [{check: [{from: a, to: host, COUNT}]}, {wait: WAIT}]}]
"""


def bounded(mtu: str = "1500", count: str = "count: 1", wait: str = "1") -> str:
    return LAB.replace("MTU", mtu).replace("COUNT", count).replace("WAIT", wait)


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (bounded(count="count: 1000"), bounded(count="count: 1001"), "at most 1,000 requests"),
        (bounded(count="size: 65000"), bounded(count="size: 65001"), "at most 65,000 bytes"),
        (bounded(count="watch: 3600"), bounded(count="watch: 3601"), "for at most 3,600 s"),
        (bounded(wait="3600"), bounded(wait="3601"), "waits of at most 3,600 s"),
        (bounded(mtu="65535"), bounded(mtu="65536"), "MTUs from 68 to 65535"),
        (bounded(mtu="68"), bounded(mtu="67"), "MTUs from 68 to 65535"),
    ],
)
def test_the_bounds_of_a_check_are_those_of_the_code(right: str, wrong: str, says: str) -> None:
    assert says in PAGE
    assert load(right, "bounds.yaml")
    with pytest.raises(InvalidLab):
        load(wrong, "bounds.yaml")
