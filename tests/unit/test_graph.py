"""Pictures of labs: what is in them, and that each format shows all of it, and hostile text as text."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cases import for_each
from documents import ROOT, documents
from hostile import hostile_texts
from ipvkit.cli.commands import run as run_command_line
from ipvkit.core.errors import printable
from ipvkit.lab import Check, Lab, Outcome, Phase, gallery
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.lab.parts import Setting
from ipvkit.predict.whole import Probe, predict_lab
from ipvkit.report.graph import dot, html, mermaid, svg, text
from ipvkit.report.graph.draw import MOST_APART, MOST_EDGES, Answer, picture, predicted
from ipvkit.report.graph.picture import Box, Edge, Node, Picture, State, Wire
from ipvkit.targets.programs import PASSED_ON
from requires import requires
from several_hosts import labs_of_hosts
from strategies import labs

TITLE = "{http://www.w3.org/1999/xlink}title"


def of_gallery(name: str, phase: int = 0) -> tuple[Lab, Phase]:
    lab = load(gallery.text(name), name)
    return lab, lab.phases[phase]


def answers_of(lab: Lab, phase: Phase) -> list[Answer]:
    """Return what is predicted of the checks of `phase`, and observed so."""
    found = next(one for one in predict_lab(lab) if one.phase.name == phase.name)
    probes = (probe for act in found.acts for probe in act.probes)
    return [(probe, probe.expected, True) for probe in probes]


def drawn_of(lab: Lab, phase: Phase, *answers: Answer) -> list[tuple[str, State, bool]]:
    """Return the edges of a picture of `answers`."""
    return [(edge.outcome, edge.state, edge.both) for edge in picture(lab, phase, answers).edges]


# --- what is in a picture -------------------------------------------------------------------------------


def test_the_walkthrough_has_a_host_a_switch_and_what_is_connected_to_it() -> None:
    lab, phase = of_gallery("walkthrough")
    found = predicted(lab, phase)
    titles = {node.id: node.title for node in found.nodes}
    assert found.title == "walkthrough, phase l2"
    assert [box.title for box in found.boxes] == ["host"]
    assert [node.title for node in found.nodes if node.box] == ["eth0", "test1", "test2"]
    assert [(titles[wire.upper], titles[wire.lower]) for wire in found.wires] == [
        ("switch", "gateway"),
        ("switch", "neighbour"),
        ("switch", "eth0"),
        ("eth0", "test1"),
        ("eth0", "test2"),
    ]
    eth0 = next(node for node in found.nodes if node.title == "eth0")
    assert eth0.lines == ("192.168.104.110/24", "ipvlan in l2 mode", "flag bridge")
    assert [(edge.ends, edge.both, edge.state) for edge in found.edges] == [
        (("test1", "test2"), True, "reachable"),
        (("test2", "gateway"), False, "reachable"),
        (("test1", "gateway"), False, "reachable"),
        (("host", "test1"), False, "unreachable"),
    ]


def test_addresses_of_a_peer_in_several_networks_are_at_its_wires() -> None:
    found = predicted(*of_gallery("bond-parent"))
    gateway = next(node for node in found.nodes if node.title == "gateway")
    assert gateway.lines == ()
    assert {wire.label for wire in found.wires if wire.lower == gateway.id} == {
        "192.168.104.254/24, VLAN 100 10.100.0.254/24",
        "192.168.105.254/24",
    }


def test_endpoints_in_one_namespace_are_in_a_box_of_it() -> None:
    found = predicted(*of_gallery("two-networks"))
    host, pod = found.boxes
    assert (pod.title, pod.inside) == ("netns pod", host.id)
    assert [node.title for node in found.nodes if node.box == pod.id] == ["net1", "net2"]


def test_each_host_has_a_box_and_a_host_is_drawn_at_its_parent() -> None:
    found = predicted(*of_gallery("two-hosts-l2"))
    boxes = {box.id: box.title for box in found.boxes}
    of_node = {node.id: boxes.get(node.box, "") for node in found.nodes}
    assert [*boxes.values()] == ["h1", "h2"]
    assert {of_node[edge.source] for edge in found.edges if edge.ends[0] == "h1"} == {"h1"}


def test_an_endpoint_that_an_earlier_phase_moved_is_where_it_was() -> None:
    lab = load(gallery.text("move"), "move")
    moves = dict(chain.from_iterable(act.move for phase in lab.phases for act in phase.acts))
    whole = replace(lab, phases=(*lab.phases, replace(lab.phases[-1], name="later", acts=())))
    found = picture(whole, whole.phases[-1], [])
    boxes = {box.id: box.title for box in found.boxes}
    assert moves
    drawn = {node.title: boxes[node.box] for node in found.nodes if node.title in moves}
    assert drawn == {name: lab.host_of(name) for name in moves}


def test_outcomes_of_one_pair_follow_each_other_and_the_last_one_counts() -> None:
    found = predicted(*of_gallery("walkthrough", 1))
    edge = next(edge for edge in found.edges if edge.ends == ("neighbour", "test1"))
    assert edge.outcome == "unreachable, then reachable, then expires, then reachable"
    assert edge.state == "reachable"
    assert edge.label == edge.outcome
    assert len(edge.titles) == 4


@pytest.mark.parametrize(
    ("observed", "passed", "shown"),
    [
        (Outcome.REACHABLE, True, ("reachable", "reachable")),
        (Outcome.UNREACHABLE, True, ("unreachable", "unreachable")),
        (Outcome.EXPIRES, True, ("expires", "unreachable")),
        (Outcome.REFUSED, True, ("refused", "unreachable")),
        (Outcome.UNREACHABLE, False, ("DIFFERS: unreachable", "differs")),
        (Outcome.REACHABLE, False, ("DIFFERS: reachable", "differs")),
        (None, None, ("reachable", "reachable")),
    ],
)
def test_an_edge_shows_what_was_observed_and_whether_it_differs(
    observed: Outcome | None, passed: bool | None, shown: tuple[str, State]
) -> None:
    lab, phase = of_gallery("l2")
    probe = Probe(Check("test1", "gateway"), None, Outcome.REACHABLE, "why")
    assert drawn_of(lab, phase, (probe, observed, passed)) == [(*shown, False)]


def test_what_differs_once_differs() -> None:
    lab, phase = of_gallery("l2")
    probe = Probe(Check("test1", "gateway"), None, Outcome.REACHABLE, "why")
    found = drawn_of(lab, phase, (probe, Outcome.UNREACHABLE, False), (probe, Outcome.REACHABLE, True))
    assert found == [("DIFFERS: unreachable, then reachable", "differs", False)]


def test_what_was_skipped_or_is_not_modelled_is_neither() -> None:
    lab, phase = of_gallery("l2")
    skipped = Probe(Check("test1", "gateway"), None, Outcome.REACHABLE, "", skipped="another machine")
    unknown = Probe(Check("test2", "gateway"), None, Outcome.NOT_MODELLED, "a sysctl")
    found = drawn_of(
        lab, phase, (skipped, None, None), (unknown, Outcome.REACHABLE, None), (unknown, None, None)
    )
    assert [state for _, state, _ in found] == ["unknown", "unknown"]


def test_both_directions_are_one_edge_only_with_one_outcome() -> None:
    lab, phase = of_gallery("l2")
    there, back = (
        Probe(Check(*ends), None, Outcome.REACHABLE, "") for ends in (("test1", "test2"), ("test2", "test1"))
    )
    lost = replace(back, expected=Outcome.UNREACHABLE)
    assert drawn_of(lab, phase, (there, None, None), (back, None, None)) == [("reachable", "reachable", True)]
    assert len(drawn_of(lab, phase, (there, None, None), (lost, None, None))) == 2


# --- many endpoints -------------------------------------------------------------------------------------


def endpoints_in(lab: Lab) -> list[tuple[str, int]]:
    nodes = predicted(lab, lab.phases[0]).nodes
    return [(node.title, node.many) for node in nodes if node.kind == "endpoint"]


def test_few_endpoints_are_apart_and_of_more_those_that_are_alike_are_one() -> None:
    few, many = (new_lab("many", Setting(), count) for count in (MOST_APART, MOST_APART + 1))
    assert endpoints_in(few) == [(f"test{number}", 1) for number in range(1, MOST_APART + 1)]
    # Only the first is pinged by the others.
    assert endpoints_in(many) == [("test1", 1), ("test2 … test13", 12)]


def test_few_endpoints_with_many_edges_are_one() -> None:
    assert MOST_EDGES < 9 * 8 / 2
    assert endpoints_in(new_lab("few", Setting(), 9, checks="all")) == [("test1 … test9", 9)]


def test_an_endpoint_with_another_result_is_apart() -> None:
    lab = new_lab("many", Setting(), 20, checks="gateway")
    (phase,) = lab.phases
    answers = [
        (probe, Outcome.UNREACHABLE, False) if probe.check.source == "test7" else (probe, seen, passed)
        for probe, seen, passed in answers_of(lab, phase)
        if isinstance(probe.check, Check)
    ]
    found = picture(lab, phase, answers)
    titles = [node.title for node in found.nodes if node.kind == "endpoint"]
    assert titles == ["test1, test2, test3 and 16 more", "test7"]
    assert [(edge.label, edge.state) for edge in found.edges] == [
        ("19 pairs", "reachable"),
        ("DIFFERS: unreachable", "differs"),
    ]


def test_a_picture_of_50_endpoints_has_few_nodes() -> None:
    for checks in (None, "ring", "gateway", "sample:5"):
        assert len(endpoints_in(new_lab("many", Setting(), 50, checks=checks))) <= 4


# --- formats --------------------------------------------------------------------------------------------


def names_in(lab: Lab, phase: Phase) -> set[str]:
    """Return what has to be found in a picture of `phase` with few endpoints."""
    parents = {parent.dev for parent in lab.parents}
    return {
        *phase.endpoints,
        *lab.hosts,
        *lab.peers,
        *parents,
        *(str(own) for p in lab.parents for own in p.host),
    }


def missing_in(shown: str, lab: Lab, phase: Phase) -> set[str]:
    return {name for name in names_in(lab, phase) if name not in shown}


@pytest.mark.long
@settings(max_examples=40)
@given(st.one_of(labs(), labs_of_hosts()), st.data())
def test_every_format_names_all_nodes_and_the_text_fits(lab: Lab, data: st.DataObject) -> None:
    phase = data.draw(st.sampled_from(lab.phases))
    found = predicted(lab, phase)
    for render in (text.render, mermaid.render, dot.render):
        assert missing_in(render(found), lab, phase) == set()
    ends = {id_ for edge in found.edges for id_ in (edge.source, edge.destination)}
    assert ends <= {node.id for node in found.nodes}


@pytest.mark.long
@for_each("name", gallery.names())
def test_the_text_of_the_gallery_fits_and_has_no_other_characters_in_ascii(name: str) -> None:
    lab = load(gallery.text(name), name)
    for phase in lab.phases:
        found = predicted(lab, phase)
        for width in (60, 80, 100):
            lines = text.render(found, width=width, ascii_=True).splitlines()
            assert max(map(len, lines)) <= width
            assert all(map(str.isascii, lines))
        assert "\x1b" not in text.render(found)


def test_a_node_below_two_switches_has_what_is_below_it_once() -> None:
    lines = text.render(predicted(*of_gallery("two-networks"))).splitlines()
    assert [
        sum(name in line for line in lines[: lines.index("predicted:")]) for name in ("─ far ", "─ gateway ")
    ] == [1, 2]


def test_a_dummy_is_connected_to_nothing_above_it() -> None:
    lab, _ = of_gallery("l2")
    lab = replace(
        lab,
        parents=(replace(lab.parents[0], kind="dummy", gateway=(), neighbour=()),),
        phases=(replace(lab.phases[0], acts=()),),
    )
    _, _, *lines = text.render(predicted(lab, lab.phases[0])).splitlines()
    assert [line[0] for line in lines[:5]] == ["┌", "│", "│", "│", "└"]


def test_colour_is_around_outcomes_only() -> None:
    found = predicted(*of_gallery("l2"))
    coloured = text.render(found, colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text.render(found)
    assert set(re.findall(r"\x1b\[32m(.*?)\x1b\[0m", coloured)) == {"reachable"}
    assert set(re.findall(r"\x1b\[90m(.*?)\x1b\[0m", coloured)) == {"unreachable"}


_MARKUP = (
    *"<script>x</script> </svg><img/src=x> <b>x</b> &lt; &amp;quot; ]]> <!--x --> </pre> </title>".split(),
    *'#quot; `x` \\N \\G \\l -->x %%{x}%% ]) " ;end; |x|'.split(),
)
shown_texts = hostile_texts().map(printable).filter(str.strip) | st.sampled_from(_MARKUP)
"""Any text as it is in a picture: nothing in it acts on a terminal."""


def picture_of(*texts: str, state: State = "reachable", both: bool = False, many: int = 1) -> Picture:
    """Return a picture with nine texts, one in every place."""
    title, box, inner, one, two, line, label, kind, reason = texts
    nodes = (Node("n0", "switch", one), Node("n1", "endpoint", two, (line, line), "b1", many))
    edge = Edge("n0", "n1", (one, two), state, kind, reason, reason, (reason, line), both)
    boxes = (Box("b0", box), Box("b1", inner, "b0"))
    return Picture(title, both, boxes, nodes, (Wire("n0", "n1", label),), (edge,))


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Pictures with hostile text in every place."""
    state: State = draw(st.sampled_from(("reachable", "unreachable", "differs", "unknown")))
    texts = [draw(shown_texts) for _ in range(9)]
    return picture_of(*texts, state=state, both=draw(st.booleans()), many=draw(st.integers(1, 2)))


def texts_of(found: Picture) -> list[str]:
    """Return all texts that a picture shows."""
    nodes = [line for node in found.nodes for line in (node.title, *node.lines)]
    return [found.title, *(box.title for box in found.boxes), *nodes]


@given(pictures())
def test_in_mermaid_text_stays_text(found: Picture) -> None:
    _, head, shown = mermaid.render(found).split("---\n")
    assert yaml.safe_load(head) == {"title": found.title}
    quoted = "<br>".join(re.findall(r'"([^"]*)"', shown)).split("<br>")
    decoded = [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), part) for part in quoted]
    labels = [*(wire.label for wire in found.wires), *(edge.label for edge in found.edges)]
    assert sorted([found.title, *decoded]) == sorted([*texts_of(found), *filter(None, labels)])
    assert all(re.fullmatch(r"[\w .,:/@()+…#;-]*", part) for part in quoted)
    assert re.fullmatch(r"[\w\s\[\](){}|<>.=:,#-]*", re.sub(r'"[^"]*"', "", shown), re.ASCII)


def element_of(shown: str) -> ElementTree.Element:
    return ElementTree.fromstring(shown)  # noqa: S314 (graphviz wrote it)


def parsed(shown: str) -> tuple[str, set[str]]:
    """Return all text of an SVG element, and its titles; raise ParseError for invalid XML."""
    root = element_of(shown)
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("}text")]
    titles = {element.get(TITLE, "") for element in root.iter()}
    return squeezed("".join(texts)), {squeezed(title) for title in titles}


def squeezed(shown: str) -> str:
    """Return `shown` without spaces, which graphviz writes in several ways."""
    return re.sub(r"\s", "", shown)


@pytest.mark.long
@settings(max_examples=25)
@given(pictures())
@example(picture_of(*[r"\N\E\G\H\L\n\\n &lt; &#92;"] * 9))
@requires("dot")
def test_in_svg_text_stays_text(found: Picture) -> None:
    texts, titles = parsed(svg.render(found))
    labels = [*(wire.label for wire in found.wires), *(edge.label for edge in found.edges)]
    assert [shown for shown in (*texts_of(found), *labels) if squeezed(shown) not in texts] == []
    named = [found.title, *(box.title for box in found.boxes), *(node.title for node in found.nodes)]
    assert {squeezed(shown) for shown in (*named, *("".join(edge.titles) for edge in found.edges))} <= titles


@requires("dot")
@pytest.mark.parametrize("name", ["walkthrough", "two-hosts-l2", "bond-parent"])
def test_in_svg_an_edge_has_its_state_and_its_reasons(name: str) -> None:
    found = predicted(*of_gallery(name))
    root = element_of(svg.render(found))
    edges = [element for element in root.iter() if "edge" in element.get("class", "").split()]
    results = [e for e in edges if "wire" not in e.get("class", "")]
    assert sorted(e.get("class", "") for e in results) == sorted(f"edge {edge.state}" for edge in found.edges)
    titles = {child.get(TITLE, "") for element in results for child in element.iter()}
    assert {"\n".join(edge.titles) for edge in found.edges} <= titles


class Tags(HTMLParser):
    """The names of all tags and attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.shown = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.shown += data


@cache
def names_in_a_page() -> set[str]:
    """Return the tags and attributes of a page of which all text is plain."""
    return Tags(html.render(predicted(*of_gallery("bond-parent")))).names


@requires("dot")
@settings(max_examples=15)
@given(pictures())
def test_in_html_text_stays_text_and_nothing_is_loaded(found: Picture) -> None:
    page = Tags(html.render(found))
    assert page.names - names_in_a_page() <= {"polyline", "stroke-dasharray", "stroke-width", "points"}
    assert not page.names & {"script", "src", "href", "xlink:href", "onload", "iframe", "img", "link"}
    assert squeezed(text.render(found)) in squeezed(page.shown)


# --- the command ----------------------------------------------------------------------------------------


def test_without_the_python_package_it_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    assert run_command_line(["labs", "graph", "l2", "--format", "svg"]) == 3
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == (
        "error: svg and html need the Python package graphviz\n"
        "hint: pip install 'ipvkit[graph]'; --format mermaid, dot and text need nothing\n"
    )


def test_without_dot_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("ipvkit.targets.programs.SEARCH_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command_line(["labs", "graph", "l2", "--format", "html", "--check"]) == 3
    assert capsys.readouterr().err == "error: dot is not installed\nhint: apt install graphviz\n"


def test_dot_is_given_no_more_of_the_environment_than_other_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A secret, or what decides which programs and libraries are loaded."""
    fake = tmp_path / "dot"
    fake.write_text(f"#!/bin/sh\nexport -p >{tmp_path}/seen\necho '<svg>'\n")
    fake.chmod(0o755)
    monkeypatch.setattr("ipvkit.targets.programs.SEARCH_PATH", ())
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin")
    monkeypatch.setenv("SECRET_TOKEN", "s3cr3t")
    before = dict(os.environ)
    svg.render(predicted(*of_gallery("l2")))
    assert os.environ == before
    names = set(re.findall(r"^export (\w+)", (tmp_path / "seen").read_text(), re.MULTILINE))
    # The shell sets two, and so does readline, which a debugger loads.
    names -= {"PWD", "OLDPWD", "COLUMNS", "LINES"}
    assert {"PATH", "LC_ALL"} <= names <= {*PASSED_ON, "PATH", "LC_ALL"}


def test_it_draws_the_phase_that_is_named_and_names_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["labs", "graph", "walkthrough", "--phase", "l3", "--format", "mermaid"]) == 0
    assert capsys.readouterr() == (mermaid.render(predicted(*of_gallery("walkthrough", 1))), "")
    assert run_command_line(["labs", "graph", "walkthrough"]) == 0
    assert capsys.readouterr().err == "note: this is phase l2; --phase draws another: l3\n"
    assert run_command_line(["labs", "graph", "walkthrough", "--phase", "l4"]) == 2


@pytest.mark.long
@pytest.mark.parametrize(("charset", "line"), [("utf-8", "├─ gateway"), ("ascii", "+- gateway")])
def test_lines_are_drawn_with_what_the_terminal_has(charset: str, line: str) -> None:
    argv = [sys.executable, "-m", "ipvkit", "labs", "graph", "l2"]
    environment = {**os.environ, "PYTHONIOENCODING": charset}
    done = subprocess.run(argv, capture_output=True, env=environment, timeout=60, check=True)
    assert line in done.stdout.decode(charset)


# --- the documents --------------------------------------------------------------------------------------


@requires("dot")
def test_the_picture_of_the_readme_is_what_the_program_draws() -> None:
    """All but the places, which depend on the fonts of a machine."""
    drawn = svg.render(predicted(*of_gallery("walkthrough")))
    kept = (ROOT / "docs" / "walkthrough.svg").read_text()
    assert parsed(kept) == parsed(drawn)
    assert shapes(kept) == shapes(drawn)


def shapes(shown: str) -> list[tuple[str, str | None, str | None]]:
    """Return what is drawn, in order, with its class and colour."""
    return [(e.tag, e.get("class"), e.get("stroke")) for e in element_of(shown).iter()]


def mermaid_blocks() -> Iterable[str]:
    # That of CONTRIBUTING.md is of no lab.
    pages = (document for document in documents() if document.name != "CONTRIBUTING.md")
    blocks = (block for document in pages for block in document.blocks)
    return ["\n".join(block.lines) + "\n" for block in blocks if block.language == "mermaid"]


def test_pictures_in_the_documents_are_what_the_program_draws() -> None:
    every = {mermaid.render(predicted(*of_gallery(name))) for name in gallery.names()}
    found = set(mermaid_blocks())
    assert found
    assert found <= every
