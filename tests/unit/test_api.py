"""The Python interface: its names, what the reference page shows of them, and what they return."""

import inspect
import re
from typing import get_args

import pytest

from documents import REFERENCE
from ipvkit import api
from ipvkit.host.inspect import Inspection
from ipvkit.lab import gallery
from ipvkit.report.reading import Kind
from requires import requires

PAGE = (REFERENCE / "api.md").read_text()
FUNCTIONS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]


def test_ten_names_which_stay() -> None:
    assert sorted(api.__all__) == sorted(
        "load_lab predict run up explain review export inspect parse IpvkitError".split()
    )
    [imported] = re.findall(r"^from ipvkit.api import (load_lab, .*)$", PAGE, re.MULTILINE)
    assert re.findall(r"^### `(\w+)", PAGE, re.MULTILINE) == imported.split(", ")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_page_shows_each_signature(name: str) -> None:
    own = inspect.signature(getattr(api, name))
    shown = re.search(rf"^### `{name}\((.*)\)`$", PAGE, re.MULTILINE)
    assert shown is not None
    plain = [
        f"{p.name}={p.default!r}" if p.default is not p.empty else p.name for p in own.parameters.values()
    ]
    assert shown[1].replace("*, ", "") == ", ".join(plain)


def test_a_lab_is_predicted_explained_reviewed_and_exported() -> None:
    lab = api.load_lab(gallery.WALKTHROUGH)
    [first, *_] = api.predict(lab)
    assert first.acts[0].probes[0].expected == "reachable"
    [found] = api.explain(lab, "host", "test1", phase="l2")
    assert found.prediction.outcome == "unreachable"
    assert found.fixes
    assert [phase.phase.name for phase in api.review(lab).phases] == [phase.name for phase in lab.phases]
    [(path, text)] = api.export(lab).items()
    assert path == "lab.sh"
    assert text.startswith("#!/usr/bin/env bash\n")
    assert [*api.export(lab, "cni", "l2")] != [path]


def test_what_is_wrong_is_an_error_with_a_hint() -> None:
    with pytest.raises(api.IpvkitError) as caught:
        api.load_lab("no-such-lab")
    assert (caught.value.exit_code, bool(caught.value.hint)) == (2, True)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_kind_is_parsed(kind: Kind) -> None:
    if kind in ("ping", "arping", "fping"):
        with pytest.raises(api.IpvkitError):
            api.parse(kind, "")
    else:
        assert not api.parse(kind, "")


@requires("ip")
def test_the_links_of_this_machine_are_inspected() -> None:
    assert isinstance(api.inspect().found, Inspection)


@pytest.mark.promise
@pytest.mark.kernel
def test_a_lab_runs_and_stands() -> None:
    lab = api.load_lab("l2")
    result = api.run(lab, target="uml")
    assert (result.verdict, result.exit_code) == ("pass", 0)
    with api.up(lab, target="uml") as standing:
        assert standing.ping("test1", "gateway").observed == "reachable"
        lost = standing.ping("host", "test1", count=1)
        assert (lost.observed, lost.passed) == ("unreachable", True)
        assert standing.run("test1", ["false"]).exit_code == 1
        assert "192.168.104.211" in standing.run("test1", ["ip", "addr"]).stdout
        with pytest.raises(api.IpvkitError, match="unknown node 'test9'"):
            standing.run("test9", ["true"])
        # A command that does not end takes the lab with it.
        with pytest.raises(api.IpvkitError, match="no answer within 1 s"):
            standing.run("test1", ["sleep", "1000"], timeout_s=1)


@pytest.mark.kernel
def test_a_lab_of_several_hosts_stands() -> None:
    with api.up(api.load_lab("two-hosts-l2")) as standing:
        names = [endpoint.name for endpoint in standing.lab.endpoints]
        far = [name for name in names if standing.lab.host_of(name) != standing.lab.host_of(names[0])]
        assert standing.ping(names[0], far[0]).observed == "reachable"
