"""Reports in files, for people and for CI: what each format shows of a result, and that text stays text."""

import re
import sys
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from hostile import hostile_texts
from ipvkit.cli.commands import run as run_command_line
from ipvkit.core.command import Completed
from ipvkit.core.errors import CommandFailed
from ipvkit.lab import Check, Setting, gallery
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.report import github, html, junit, markdown
from ipvkit.report import matrix as matrix_report
from ipvkit.report import run as of_run
from ipvkit.report.entries import MOST_NODES, Entry, Fix, Heat, Ran, Report, Section, text_of
from ipvkit.report.review import report as report_of_review
from ipvkit.run.verdicts import judge
from ipvkit.verbs import matrix
from ipvkit.verbs.review import review
from recorder import answered, unanswered, watched_to_its_end
from requires import requires
from runs import ADDRESS, as_predicted, plan_of, probes, run_of

STATUSES = ("ok", "differs", "error", "skipped")
texts = hostile_texts() | st.text(max_size=30)
commands = st.builds(Ran, texts, texts, st.integers(-9, 255), st.floats(0, 1e6), texts)
entries = st.builds(
    Entry,
    *(texts, st.sampled_from(STATUSES)),
    *(texts.filter(str.strip), texts, texts, texts, texts),
    st.none() | commands,
    st.lists(texts, max_size=2).map(tuple),
    st.lists(st.builds(Fix, texts, st.lists(texts, max_size=2).map(tuple)), max_size=1).map(tuple),
)
heats = st.builds(Heat, texts, st.just(("from", "a")), st.tuples(st.tuples(texts, texts)), st.just(1), texts)
sections = st.builds(
    Section,
    *(texts, texts),
    st.lists(entries, max_size=3).map(tuple),
    st.lists(commands, max_size=1).map(tuple),
    st.lists(heats, max_size=2).map(tuple),
)
reports = st.builds(
    Report,
    *(st.just("run-lab"), texts, texts, texts),
    st.lists(sections, max_size=3).map(tuple),
    st.just(list),
    texts,
    st.lists(texts, max_size=2).map(tuple),
    st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    texts,
)


def as_words(text: str) -> str:
    return " ".join(text_of(text).split())


def a_run() -> Report:
    """Return the report of a run in which one check is as predicted, one differs, and one failed."""
    plan = plan_of(Check("test1", "gateway"), Check("host", "test1"), Check("test2", "gateway"))
    failed = Completed(2, "", "ping: socktype: SOCK_RAW\n", 0.1)
    return of_run.report(judge(run_of(plan, answered(ADDRESS), answered(ADDRESS), failed)), "a/lab.yaml")


# --- JUnit ----------------------------------------------------------------------------------------------

JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    **dict.fromkeys(("skipped", "error", "failure"), (set(), {"type", "message"}, set())),
}
"""What Jenkins' schema, junit-10.xsd, allows: attributes that have to be there, others, and elements."""

SECONDS = re.compile(r"\d*(\.\d*)?")


def assert_valid(element: Element) -> None:
    required, optional, inside = JUNIT[element.tag]
    assert required <= {*element.keys()} <= required | optional, element.tag
    assert {child.tag for child in element} <= inside
    assert SECONDS.fullmatch(element.get("time", "0"))
    for child in element:
        assert_valid(child)


def parsed(report: Report) -> Element:
    return validated("".join(junit.render(report)))


def validated(text: str) -> Element:
    root = ElementTree.fromstring(text.encode())  # noqa: S314
    assert_valid(root)
    return root


def counted(element: Element) -> dict[str, int]:
    found = Counter(child.tag for child in element.iter())
    return {
        "tests": found["testcase"],
        "failures": found["failure"],
        "errors": found["error"],
        "skipped": found["skipped"],
    }


@given(reports)
def test_junit_is_valid_counts_and_keeps_all_text(report: Report) -> None:
    root = parsed(report)
    for element in root.iter():
        if element.tag.startswith("testsuite"):
            counts = counted(element)
            assert {name: int(element.get(name, counts[name])) for name in counts} == counts
    cases = [case for case in root.iter("testcase") if case.get("classname") != report.name]
    shown = [entry for _, entry in report.entries]
    assert len([*root.iter("testcase")]) == len(shown) + bool(report.problem)
    for case, entry in zip(root.iter("testcase"), shown, strict=False):
        assert as_words(entry.name) in as_words(case.get("name", ""))
        assert [child.tag for child in case] == {
            "ok": [],
            "differs": ["failure"],
            "error": ["error"],
            "skipped": ["skipped"],
        }[entry.status]
        for child in case:
            assert as_words(entry.reason) in as_words(child.text or "")
            assert entry.ran is None or as_words(entry.ran.command) in as_words(child.text or "")
    assert len(cases) <= len(shown) + 1


def test_junit_has_a_failure_where_a_check_differs_and_an_error_where_a_command_failed() -> None:
    (suite, run) = parsed(a_run())
    reachable, differs, failed = suite.iter("testcase")
    assert (reachable.get("classname"), reachable.get("name")) == (
        "walkthrough.l2",
        f"test1 -> gateway ({ADDRESS})",
    )
    assert [*reachable] == []
    (failure,), (error,) = differs, failed
    assert failure.get("message") == "predicted unreachable, observed reachable"
    assert "$ ip netns exec host ping" in str(failure.text) or "$ ping" in str(failure.text)
    assert "6 received" in str(failure.text)
    assert "SOCK_RAW" in str(error.text)
    assert "exit code 2" in str(error.text)
    assert run.get("errors") == "1"
    assert "error: " in str(run[0][0].text)


# --- Markdown -------------------------------------------------------------------------------------------

OURS = ("<details>", "</details>", "<summary>")
"""The HTML that a page has; the rest of it is text."""


def tokens_of(page: str) -> list[Any]:
    """Return the tokens of Markdown, blocks and what is in a line, in order."""
    found = MarkdownIt("commonmark").enable("table").parse(page)
    return [inner for token in found for inner in [token, *(token.children or [])]]


def text_shown(tokens: list[Any]) -> str:
    return as_words(" ".join(token.content for token in tokens if token.type in ("text", "fence")))


@given(reports)
def test_markdown_shows_text_as_it_is(report: Report) -> None:
    tokens = tokens_of("".join(markdown.render(report)))
    kinds = {token.type for token in tokens}
    lists = sum(token.type == "bullet_list_open" for token in tokens)
    assert lists == bool(report.notes)
    assert not kinds & {
        "ordered_list_open",
        "link_open",
        "image",
        "em_open",
        "code_inline",
        "code_block",
        "hr",
        "html_inline",
    }
    assert all(token.content.startswith(OURS) for token in tokens if token.type == "html_block")
    shown = "".join(text_shown(tokens).split())
    for _, entry in report.entries:
        for text in (entry.name, entry.predicted, entry.observed, entry.reason, entry.address):
            assert "".join(text_of(text).split()) in shown
    assert sum(token.type == "tr_open" for token in tokens) == sum(
        len(section.entries) + 1 for section in report.sections if section.entries
    )


def test_markdown_shows_the_verdict_first_and_then_what_differs() -> None:
    lines = "".join(markdown.render(a_run())).splitlines()
    assert lines[0] == "## run-lab walkthrough: error"
    assert lines[2].startswith("error: walkthrough: 1 of 3 as predicted \\(DIFFERS".replace("\\(", "("))
    differs = lines.index("### What differs")
    assert differs < next(number for number, line in enumerate(lines) if line.startswith("| check"))
    assert any(
        line.startswith("**l2: host -\\> test1**: predicted unreachable, ") for line in lines[differs:]
    )


def test_a_long_table_is_folded() -> None:
    (section, *_) = [each for each in a_run().sections if each.entries]
    long = replace(section, entries=section.entries[:1] * 40)
    page = "".join(markdown.render(replace(a_run(), sections=(long,))))
    assert "<details><summary>40 lines</summary>\n\n| check" in page
    assert "<details>" not in "".join(markdown.render(a_run()))


@given(texts)
@example("a\n```\nb")
def test_nothing_in_a_fenced_block_ends_it(text: str) -> None:
    fenced, *others = tokens_of(markdown.fenced(text))
    assert others == []
    assert fenced.type == "fence"
    assert as_words(fenced.content) == as_words(text)


# --- HTML -----------------------------------------------------------------------------------------------

VOID = {"meta", "input"}
ATTRIBUTES = {
    *("aria-label", "aria-labelledby", "autocomplete", "charset", "checked", "class", "content", "data-of"),
    *("for", "hidden", "href", "http-equiv", "id", "lang", "name", "open", "placeholder", "role", "scope"),
    *("tabindex", "type", "value"),
}
"""The attributes of a page; none of them runs a script, and none but a link within it has an address."""


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes and its text, without what is in others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.all_text: list[str] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        assert len(attrs) == len(dict(attrs)), f"an attribute of {tag} is there twice"
        if tag not in VOID:
            self._open.append(len(self.elements))
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends the innermost element."""
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self._open:
            self.elements[self._open[-1]][2].append(data)
        self.all_text.append(data)

    def all_of(self, tag: str) -> list[tuple[dict[str, str], str]]:
        """Return the attributes and the text of each element of a kind."""
        return [(attributes, "".join(own)) for name, attributes, own in self.elements if name == tag]


def page_of(report: Report) -> Page:
    return Page("".join(html.render(report)))


@given(reports)
def test_a_page_shows_text_as_it_is_and_asks_for_nothing(report: Report) -> None:
    page = page_of(report)
    assert {name for _, attributes, _ in page.elements for name in attributes} <= ATTRIBUTES
    assert all(attributes["href"].startswith("#") for attributes, _ in page.all_of("a"))
    assert len(page.all_of("script")) == len(page.all_of("style")) == 1
    shown = "".join("".join(page.all_text).split())
    of_entries = (
        text for _, e in report.entries for text in (e.name, e.word, e.observed, e.reason, e.address, *e.path)
    )
    for text in (report.verdict, report.problem, *report.notes, *of_entries):
        assert "".join(text_of(text).split()) in shown


def test_an_element_in_a_text_is_text() -> None:
    hostile = "</p><script>alert(1)</script>&amp;"
    page = page_of(replace(a_run(), notes=(hostile,)))
    assert len(page.all_of("script")) == 1
    assert hostile in "".join(page.all_text)


@given(reports)
def test_a_page_can_be_used_without_seeing_it(report: Report) -> None:
    page = page_of(report)
    assert page.all_of("html")[0][0]["lang"] == "en"
    assert len(page.all_of("h1")) == len(page.all_of("main")) == 1
    assert all(attributes["scope"] in ("row", "col") for attributes, _ in page.all_of("th"))
    assert len(page.all_of("caption")) == len(page.all_of("table"))
    assert len(page.all_of("summary")) == len(page.all_of("details"))
    every = [attributes for _, attributes, _ in page.elements]
    ids = [attributes["id"] for attributes in every if "id" in attributes]
    assert len(ids) == len({*ids})
    named = {of[name] for of in every for name in ("for", "aria-labelledby") if name in of}
    assert {*named, *(of["href"][1:] for of in every if "href" in of)} <= {*ids}


def test_a_browser_runs_the_script_of_a_page_and_no_other() -> None:
    page = page_of(replace(a_run(), sections=()))
    ((_, script),) = page.all_of("script")
    ((_, style),) = page.all_of("style")
    (policy,) = (of["content"] for of, _ in page.all_of("meta") if "http-equiv" in of)
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_a_page_shows_the_verdict_first_and_what_differs_unfolded() -> None:
    page = page_of(a_run())
    ((_, title),) = page.all_of("h1")
    assert title == "run-lab walkthrough: error"
    (verdict,) = (text for of, text in page.all_of("p") if of.get("class") == "verdict error")
    assert verdict.startswith("error: walkthrough: 1 of 3 as predicted")
    assert [("open" in of) for of, _ in page.all_of("details")][:3] == [False, True, True]
    assert [text for _, text in page.all_of("dd")][:3] == ["local", "6.12.0", "2.0 s"]


@requires("dot")
def test_a_page_has_the_picture_of_each_phase_and_a_browser_applies_its_style() -> None:
    page = page_of(a_run())
    assert [of["aria-label"] for of, _ in page.all_of("svg")] == ["walkthrough, phase l2"]
    (policy,) = (of["content"] for of, _ in page.all_of("meta") if "http-equiv" in of)
    styles = [style for _, style in page.all_of("style")]
    assert len(styles) == 2
    for style in styles:
        assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy


def test_without_graphviz_a_page_shows_why_it_has_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    page = page_of(a_run())
    assert page.all_of("svg") == []
    assert any(text.startswith("no picture: ") for _, text in page.all_of("p"))


def test_what_a_page_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_file", lambda _: "{{ report.no_such }}")
    with pytest.raises(UndefinedError):
        "".join(html.render(a_run()))


def test_without_jinja_a_page_is_refused_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run_command_line(["run-lab", "--report", str(tmp_path / "a.html")]) == 3
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: a report as HTML needs Jinja2\nhint: pip install 'ipvkit[report]'\n")


# --- maps -----------------------------------------------------------------------------------------------


def test_the_map_of_a_run_has_what_came_of_the_checks_of_each_pair() -> None:
    gateway, test2 = Check("test1", "gateway"), Check("test1", "test2")
    plan = plan_of(gateway, replace(gateway, count=3), test2, Check("host", "test1"))
    outputs = (answered(ADDRESS), unanswered(ADDRESS), answered(ADDRESS), answered(ADDRESS))
    report = of_run.report(judge(run_of(plan, *outputs)))
    ((heat,),) = [section.heats for section in report.sections if section.heats]
    assert heat.heads == ("from \\ to", "test1", "test2", "gateway")
    assert heat.rows == (("test1", "-", "yes", "some!"), ("host", "yes!", "-", "-"))
    classes = {text: attributes.get("class") for attributes, text in page_of(report).all_of("td")}
    assert (classes["yes"], classes["some!"]) == ("ok", "differs")


def test_a_cell_has_the_outcome_that_all_checks_of_its_pair_have() -> None:
    plan = plan_of(Check("test1", "gateway", 9), Check("test2", "gateway"), Check("host", "test2"))
    run = run_of(plan, watched_to_its_end(ADDRESS), unanswered(ADDRESS))
    del run.completed[probes(plan)[2].id]
    ((heat,),) = [section.heats for section in of_run.report(judge(run)).sections if section.heats]
    assert heat.rows == (("test1", "-", "expires!"), ("test2", "-", "no!"), ("host", "?", "-"))


def test_the_map_of_a_review_has_the_pairs_that_its_groups_have() -> None:
    reviewed = review(load(gallery.text("ipv6"), "ipv6"))
    for phase, section in zip(reviewed.phases, report_of_review(reviewed, "ipv6").sections, strict=True):
        (heat,) = section.heats
        words = Counter(word for _, *row in heat.rows for word in row)
        assert words["yes"] + words["no"] == phase.pairs
        assert words["no"] == sum(group.count for group in phase.groups)


def test_the_map_of_the_matrix_is_that_of_each_kernel() -> None:
    found = matrix.predicted(matrix.plans(1, "l3", "bridge", "ipv4", "none"))
    cells = tuple(replace(cell, kernel=kernel) for kernel in ("6.1", "7.2") for cell in found.cells)
    first, *others = matrix_report.report(replace(found, cells=cells)).sections
    assert [heat.of for heat in first.heats] == ["6.1", "7.2"]
    assert len({heat.rows for heat in first.heats}) == 1
    assert first.heats[0].rows[0][:3] == ("l3", "bridge", "none")
    assert [section.title for section in others] == ["mode l3 on kernel 6.1", "mode l3 on kernel 7.2"]


def test_a_map_of_many_nodes_is_left_out() -> None:
    for count, shown in ((MOST_NODES - 1, True), (MOST_NODES + 1, False)):
        lab = new_lab("many", Setting("l2"), count, checks="ring")
        assert any(section.heats for section in of_run.report(judge(as_predicted(lab))).sections) == shown


# --- GitHub ---------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|notice) ((?:file=([^:,]+),)?title=([^:,]*))::(.*)")


def decoded(text: str) -> str:
    return re.sub(r"%([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), text)


@given(reports)
def test_annotations_are_workflow_commands_and_their_text_is_none(report: Report) -> None:
    lines = [*github.annotations(report)]
    found = [COMMAND.fullmatch(line.removesuffix("\n")) for line in lines]
    assert all(found), lines
    kinds = Counter(each[1] for each in found if each)
    assert kinds["notice"] == 1
    assert kinds["error"] == len(report.bad) + bool(report.problem)
    assert lines[-1].endswith("\n")
    last = found[-1]
    assert last is not None
    assert decoded(last[5]) == text_of(report.verdict)


@pytest.mark.parametrize("count", [0, 1, 10, 11, 300])
@pytest.mark.parametrize("problem", ["", "error: x"])
def test_no_more_annotations_than_github_shows(count: int, problem: str) -> None:
    wrong = Entry("a -> b", "differs", "DIFFERS", "reachable", "unreachable")
    report = replace(a_run(), problem=problem, sections=(Section("l2", "phase l2", (wrong,) * count),))
    errors = [line for line in github.annotations(report) if line.startswith("::error")]
    assert len(errors) == min(10, count + bool(problem))
    if count > 10:
        assert f"and {count - 9 + bool(problem)} more" in errors[-1]
    assert all("file=a/lab.yaml," in line for line in errors)


def test_a_summary_is_never_larger_than_github_takes() -> None:
    long = Entry("a -> b", "ok", "as predicted", reason="x" * 1000)
    wrong = replace(long, name="c -> d", status="differs")
    for count, shown in ((10, 2), (2000, 1), (0, 1)):
        section = Section("l2", "phase l2", (*(long,) * count, wrong))
        page = github.summary(replace(a_run(), sections=(section,)))
        assert len(page.encode()) < 2**20
        assert ("as predicted |" in page) == (count == 10)
        assert page.count("c -\\> d") >= shown


# --- what a result is turned into -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["walkthrough", "l3-silent", "two-hosts-l2", "ipv6"])
def test_a_run_as_predicted_has_nothing_that_is_bad(name: str) -> None:
    lab = load(gallery.text(name), name)
    result = judge(as_predicted(lab))
    report = of_run.report(result)
    asked = [entry for _, entry in report.entries if entry.status == "ok"]
    assert len(asked) == sum(check.passed is True for check in result.checks)
    assert len([*report.entries]) == len(result.checks)
    assert bool(report.bad or report.problem) == (result.exit_code != 0)
    commands = [entry.ran.command for entry in asked if entry.ran]
    assert commands == [str(step.command) for step in probes(result.run.plan)]


def test_a_run_shows_the_path_of_each_check_and_one_fix_for_each_reason() -> None:
    plan = plan_of(Check("host", "test1"), Check("host", "test2"), Check("test1", "gateway"))
    lost = unanswered(ADDRESS)
    report = of_run.report(judge(run_of(plan, lost, lost, answered(ADDRESS)), paths=True))
    first, second, third = (entry for _, entry in report.entries)
    assert first.path == ("host: uses route 192.168.104.0/24 dev eth0", "host: lost")
    assert third.path[-1].startswith("test1: ")
    (fix,) = first.fixes
    assert fix.title == "fix, host-shim: add one ipvlan interface on the host"
    assert fix.lines[0] == "ip link add shim link eth0 type ipvlan mode l2"
    assert second.fixes == third.fixes == ()


def test_a_run_that_failed_is_an_error_in_each_format() -> None:
    failure = CommandFailed("ip failed with exit code 2", "undone", command="ip link add x", stderr="exists")
    run = run_of(plan_of(Check("test1", "gateway")), failure=failure)
    run.completed.clear()
    report = of_run.report(judge(run))
    assert [entry.status for _, entry in report.entries] == ["skipped"]
    (error,) = parsed(report).iter("error")
    for text in (str(error.text), "".join(markdown.render(report)), "".join(github.annotations(report))):
        assert "ip failed with exit code 2" in text
        assert "ip link add x" in text


# --- the option -----------------------------------------------------------------------------------------

VERBS = {
    "review": "review l3-silent",
    "comparison": "review l3-silent --against l2",
    "explain": "explain host test1",
    "matrix": "matrix --predict --mode l3 --flag bridge --family ipv4",
}


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_each_format_is_written_and_stdout_is_as_without(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(github.SUMMARY, str(tmp_path / "summary"))
    (tmp_path / "summary").write_text("of another command\n")
    code = run_command_line([*words.split(), "--json"])
    alone = capsys.readouterr()
    files = [tmp_path / name for name in ("a.md", "b.xml", "c.JSON", "d.json", "e.html")]
    options = [word for file in files for word in ("--report", str(file))]
    assert run_command_line([*words.split(), "--json", *options, "--report", "github"]) == code
    both = capsys.readouterr()
    assert both.out == alone.out
    page, xml, document, again, hypertext = (file.read_text() for file in files)
    assert document == again == alone.out
    assert Page(hypertext).all_of("h1")[0][1].startswith(words.split()[0])
    root = validated(xml)
    assert bool(root.findall(".//failure")) == (code == 1)
    assert (tmp_path / "summary").read_text() == f"of another command\n{page}"
    assert both.err.splitlines()[-1].startswith("::notice ")
    assert both.err.count("::error ") == min(10, len(root.findall(".//failure")))


WRONG = {
    "suffix": ("a.txt", "'a.txt': the suffix names no format", ".html, .json, .md, .xml, or github"),
    "no suffix": ("html", "'html': the suffix names no format", "choose from"),
    "no folder": ("/no/such/a.md", "cannot be written to '/no/such/a.md'", "folder"),
    "not on GitHub": ("github", "--report github needs $GITHUB_STEP_SUMMARY", "GitHub Actions sets it"),
}


@pytest.mark.parametrize(("target", "what", "hint"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("words", ["run-lab l2", *VERBS.values(), "explain host test1 --run", "matrix"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_run(
    target: str,
    what: str,
    hint: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(github.SUMMARY, raising=False)
    good = str(tmp_path / "good.json")
    assert run_command_line([*words.split(), "--report", good, "--report", target]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, help_ = err.splitlines()
    assert what in error
    assert hint in help_
    assert list(tmp_path.iterdir()) == []


def test_a_preview_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("run-lab --dry-run", "run-lab --dry-run --observe"):
        assert run_command_line([*words.split(), "--report", str(tmp_path / "a.md")]) == 2
        assert "--report does not go with --dry-run" in capsys.readouterr().err
