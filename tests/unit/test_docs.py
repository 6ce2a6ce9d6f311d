"""The documents are true: their commands run and print what is shown, their links lead somewhere."""

import doctest
import inspect
import io
import json
import re
import subprocess
import sys
import sysconfig
import textwrap
from configparser import ConfigParser
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest
import yaml

from captures import FIXTURES
from cases import for_each
from documents import (
    NOT_RUN,
    REFERENCE,
    ROOT,
    Document,
    Shown,
    documents,
    problem,
    run,
    terminal_environment,
)
from ipvkit.cli import SUMMARIES, main
from ipvkit.cli.commands import group, loaded_command
from ipvkit.lab import gallery
from ipvkit.lab.fields import Source
from ipvkit.lab.format import load
from ipvkit.lab.table import schema
from ipvkit.plan.make import make_plan
from ipvkit.report import matrix as matrix_report
from ipvkit.report.labs import schema_markdown
from ipvkit.strategies import HOST_SHIM, STRATEGIES
from ipvkit.targets.kernels import MODULES
from ipvkit.tools import arping, bridge, fping, ip, ping, socat
from ipvkit.verbs.formats import read, recognised
from ipvkit.verbs.matrix import plans, predicted
from requires import requires

DOCUMENTS = documents()
ALL_SHOWN = [shown for document in DOCUMENTS for shown in document.shown]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PLAIN = re.compile(r"ipvkit [\w ./=:@-]*( > \S+)?")
"""A line that has no words for a shell, but for the file that it prints into."""
_HEADING = re.compile(r"(#+) +(.+)")


def by_name(document: Document) -> str:
    return document.name


def headings(document: Document) -> list[tuple[str, str]]:
    """Return the level (as its #) and the text of each heading."""
    found = (_HEADING.fullmatch(line) for line in document.prose)
    return [(heading[1], heading[2]) for heading in found if heading]


def anchors(document: Document) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    texts = (text.lower().replace(" ", "-") for _, text in headings(document))
    return {re.sub(r"[^\w-]", "", text) for text in texts}


NEEDS = {"icmp": r"127\.0\.0\.1", "dot": r"graph .*--format (svg|html)", str(MODULES): r"--kernel /"}
"""What commands need besides ipvkit, by what is in their lines."""


def with_marks(document: Document, text: str) -> Any:
    """Return the case of a document: it is skipped where this machine lacks what `text` of it needs."""
    return pytest.param(
        document, marks=requires(*(need for need, it in NEEDS.items() if re.search(it, text)))
    )


FAST = {d: "\n".join(s.command for s in d.shown if s.runs_in == "fast") for d in DOCUMENTS}
RUN = [with_marks(document, text) for document, text in FAST.items() if text and "zh-CN" not in document.name]
"""Whose commands are run: the blocks of the Chinese README are those of the English one, as a test says."""


def test_a_check_that_began_late_may_have_several_outcomes() -> None:
    table = textwrap.dedent("""\
    check             predicted    observed     verdict       reason
    ----------------  -----------  -----------  ------------  ---------------
    test1 -> gateway  reachable    reachable    as predicted  it has an entry
                                                              of test1
    """)
    late = textwrap.dedent("""\
    check             predicted                 observed     verdict       reason
    ----------------  ------------------------  -----------  ------------  ------
    test1 -> gateway  reachable or unreachable  reachable    as predicted  it has
                                                                           an
                                                                           entry
                                                                           of test1
    """)
    shown = Shown("a.md:1", "ipvkit run-lab", 0, tuple(table.splitlines()))
    assert problem(shown, 0, table) == problem(shown, 0, late) == ""
    for wrong in (late.replace("reachable    as", "unreachable  as"), table.replace("entry", "address")):
        assert "is shown to print" in problem(shown, 0, wrong)


@pytest.mark.long
@pytest.mark.parametrize("document", RUN, ids=by_name)
def test_commands_print_what_is_shown(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in terminal_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    # Where nothing is up, as in the documents.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ran: dict[str, tuple[int, str]] = {}
    problems = []
    for shown in document.shown:
        if shown.runs_in == "fast":
            if shown.command not in ran:
                here = _PLAIN.fullmatch(shown.command) and document.name != "README.md"
                ran[shown.command] = (run_here if here else run)(shown.command, tmp_path)
            problems.append(problem(shown, *ran[shown.command]))
    assert not any(problems), "\n\n".join(filter(None, problems))


def run_here(command: str, folder: Path) -> tuple[int, str]:
    """Return what `run` does, of a plain line; a process for each takes much longer."""
    line, _, file = command.partition(" > ")
    ipvkit = str(Path(sysconfig.get_path("scripts")) / "ipvkit")
    seen, printed = io.StringIO(), io.StringIO()
    argv = patch.object(sys, "argv", [ipvkit, *line.split()[1:]])
    with argv, redirect_stdout(printed if file else seen), redirect_stderr(seen):
        code = main(sys.argv[1:])
    if file:
        (folder / file).write_text(printed.getvalue(), encoding="utf-8")
    return code, seen.getvalue()


def test_what_is_not_run_is_shown_somewhere() -> None:
    assert set(NOT_RUN) == {shown.command for shown in ALL_SHOWN if shown.runs_in == "nowhere"}


@for_each("document", DOCUMENTS)
def test_links_lead_somewhere(document: Document) -> None:
    wrong = []
    for link in _LINK.findall("\n".join(document.prose)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.path.parent / file).resolve() if file else document.path
        if not target.exists() or (anchor and anchor not in anchors(Document(target))):
            wrong.append(link)
    assert wrong == []


def python_of(document: Document) -> str:
    """Return the blocks of Python of a document, one after another."""
    return "\n\n".join("\n".join(block.lines) for block in document.blocks if block.language == "python")


EXAMPLES = [(document, text) for document in DOCUMENTS if ">>> " in (text := python_of(document))]


@pytest.mark.parametrize("document", [with_marks(*each) for each in EXAMPLES], ids=by_name)
def test_examples_in_python_do_what_is_shown(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(python_of(document), {}, document.name, None, None)
    told: list[str] = []
    assert doctest.DocTestRunner().run(examples, out=told.append).failed == 0, "".join(told)


INVENTORY = "hosts."
"""How the name of an inventory of Ansible begins, which is YAML too."""


@for_each("document", DOCUMENTS)
def test_yaml_blocks_are_yaml_and_labs_load(document: Document) -> None:
    for block in document.blocks:
        if block.language == "yaml":
            text = "\n".join(block.lines)
            yaml.safe_load(text)
            refused = [s for s in document.shown if block.name in s.command and s.exit_code == 2]
            source = Source(block.name, text)
            if recognised(source):
                read([source])
            elif block.name and not refused and not block.name.startswith(INVENTORY):
                load(text, block.name)


def test_the_chinese_readme_has_the_same_sections_and_commands() -> None:
    english, chinese = Document(ROOT / "README.md"), Document(ROOT / "README.zh-CN.md")
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(chinese)]
    assert [(b.language, b.lines) for b in english.blocks] == [(b.language, b.lines) for b in chinese.blocks]


def test_every_folder_and_page_of_docs_is_in_its_index() -> None:
    index = Document(ROOT / "docs" / "README.md")
    linked = {(index.path.parent / link).resolve() for link in _LINK.findall("\n".join(index.prose))}
    pages = {path for path in (ROOT / "docs").rglob("*.*") if path.is_file() and path != index.path}
    assert pages - linked == set()


def rooms(contract: str, key: str) -> list[str]:
    """Return the packages that a contract of import-linter names, those that import others first."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = config[f"importlinter:contract:{contract}"][key].split()
    return [name for name in named if hasattr(import_module(name), "__path__")]


def test_contributing_names_every_room_as_its_package_does() -> None:
    layers = reversed(rooms("layers", "layers"))
    about = {room: (inspect.getdoc(import_module(room)) or "").partition("\n\n")[0] for room in layers}
    rows = [f"| `{room.replace('.', '/')}/` | {' '.join(text.split())} |" for room, text in about.items()]
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    assert [line for line in lines if re.match(r"\| `ipvkit/\w+/` ", line)][: len(rows)] == rows


def test_contributing_draws_the_rooms_in_the_order_in_which_they_import() -> None:
    blocks = Document(ROOT / "CONTRIBUTING.md").blocks
    (picture,) = ("\n".join(block.lines) for block in blocks if block.language == "mermaid")
    chains = [
        chain.split(" --> ") for chain in re.findall(r"^ +(\w+(?: --> \w+){2,})$", picture, re.MULTILINE)
    ]
    outer, pure = ([f"ipvkit.{name}" for name in chain] for chain in chains)
    assert outer + pure == rooms("layers", "layers")
    assert pure == rooms("pure", "source_modules")
    assert "\n  effects --> pure" in picture


def test_the_readme_of_the_tests_names_every_helper() -> None:
    tests = ROOT / "tests"
    files = [*tests.glob("*.py"), *tests.glob("kernel/*.py")]
    helpers = {str(path.relative_to(tests)) for path in files if not path.name.startswith("test_")}
    first_cells = [line.split(" | ")[0] for line in (tests / "README.md").read_text().splitlines()]
    named = {name for cell in first_cells for name in re.findall(r"`([\w/]+\.py)`", cell)}
    assert named == helpers - {"kernel/conftest.py"}


def commands() -> dict[str, Any]:
    """Return each command of ipvkit by its name."""
    return {name: loaded_command(name) for name in SUMMARIES}


GROUPS = [name for name, command in commands().items() if hasattr(command, "commands")]


def section_of_cli(title: str) -> str:
    """Return the text of a section of cli.md, its blocks left out: they are copies of --help."""
    prose = "\n".join(Document(REFERENCE / "cli.md").prose)
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", prose, re.MULTILINE | re.DOTALL)
    assert found is not None, f"cli.md has no section {title}"
    return found[1]


def single_commands() -> dict[str, Any]:
    """Return the commands of the groups, such as `link add`, by their words."""
    found = commands()
    return {f"{name} {sub}": each for name in GROUPS for sub, each in found[name].commands.items()}


@pytest.mark.parametrize("name", [name for name in SUMMARIES if name not in GROUPS])
def test_cli_page_names_every_option_and_default(name: str) -> None:
    section = section_of_cli(f"ipvkit {name}")
    if "#single-commands" in section:
        section += section_of_cli("Single commands")
    for parameter in commands()[name].params:
        argument = parameter.metavar if parameter.required else f"[{parameter.metavar}]"
        options = parameter.opts if parameter.param_type_name == "option" else [argument]
        row = next((line for line in section.splitlines() if f"`{options[0]}" in line), "")
        assert all(f"`{option}" in row for option in options), f"{name}: {options}"
        if parameter.default not in (None, False, ()):
            assert f"`{parameter.default}`" in row, f"{name} {options}: default {parameter.default}"


@for_each("name", [*single_commands(), *GROUPS])
def test_cli_page_shows_the_help_of_each_single_command(name: str) -> None:
    assert f"ipvkit {name} --help" in [shown.command for shown in Document(REFERENCE / "cli.md").shown]


def test_cli_page_names_the_options_of_ipvkit_itself() -> None:
    section = section_of_cli("ipvkit")
    names = [option for parameter in group().params for option in parameter.opts]
    assert [name for name in [*names, "--version", "--help"] if f"`{name}" not in section] == []


def test_cli_page_has_no_option_that_is_not_there() -> None:
    known = {"--help", "--version"} | {option for p in group().params for option in p.opts}
    every = [*commands().values(), *single_commands().values()]
    known |= {option for command in every for p in command.params for option in p.opts}
    known |= {option for command in every for p in command.params for option in p.secondary_opts}
    prose = "\n".join(Document(REFERENCE / "cli.md").prose)
    assert set(re.findall(r"`(--?[a-z][a-z-]*)", prose)) <= known


PARSERS = (ping, fping, arping, socat, ip, bridge)
PAGE_OF_PARSERS = "\n".join(Document(REFERENCE / "parsers.md").prose)


def rows_of(module: ModuleType) -> dict[str, list[str]]:
    """Return the fields of each type in the table of a module."""
    table = re.search(rf"^Of `{module.__name__}`.*?\n\n(.*?)\n\n", PAGE_OF_PARSERS, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) ?\|$", table[1], re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", fields) for name, fields in rows}


def written(module: ModuleType, name: str) -> str:
    """Return what the page has to have of a public name that has no row: how it is called."""
    found = getattr(module, name)
    short = module.__name__.rpartition(".")[2]
    if not inspect.isfunction(found) and not inspect.isclass(found):
        return f"`{short}.{name}`" if name.isupper() else f"`{name}`"
    words: list[str] = []
    for parameter in inspect.signature(found).parameters.values():
        words += ["*"] if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words else []
        words.append(parameter.name)
    call = f"{name}({', '.join(words)})"
    return f"`{call}`" if inspect.isclass(found) else f"`{short}.{call}`"


@pytest.mark.parametrize("module", PARSERS, ids=lambda module: module.__name__)
def test_parsers_page_has_all_that_is_public_and_nothing_else(module: ModuleType) -> None:
    rows = rows_of(module)
    assert set(rows) - set(module.__all__) == set()
    without_row = [name for name in module.__all__ if name not in rows]
    assert [name for name in without_row if written(module, name) not in PAGE_OF_PARSERS] == []


@pytest.mark.parametrize("module", PARSERS, ids=lambda module: module.__name__)
def test_parsers_page_names_every_field_of_every_type(module: ModuleType) -> None:
    for name, shown in rows_of(module).items():
        found = getattr(module, name)
        names = (
            (field.name for field in fields(found)) if is_dataclass(found) else getattr(found, "_fields", ())
        )
        assert shown == list(names), name
        own = vars(found).items() if inspect.isclass(found) else ()
        properties = [key for key, value in own if isinstance(value, property)]
        assert [key for key in properties if f"`{key}`" not in PAGE_OF_PARSERS] == []


def test_parsers_page_names_every_version_that_there_are_captures_of() -> None:
    versions = [folder.name.rpartition("-")[2] for folder in FIXTURES.iterdir() if folder.is_dir()]
    assert [version for version in versions if version not in PAGE_OF_PARSERS] == []


def test_the_parsers_load_nothing_but_pythons_own_library() -> None:
    """As the page says."""
    code = "import sys; from ipvkit.tools import arping, bridge, fping, ip, ping, socat; print(*sys.modules)"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ipvkit" in loaded
    assert loaded & {"sh", "typer", "click", "rich", "tabulate", "yaml", "subprocess"} == set()


def test_the_page_of_lab_files_has_the_tables_that_the_schema_makes() -> None:
    page = (REFERENCE / "lab-format.md").read_text()
    assert schema_markdown().rstrip("\n") in page


def test_the_page_of_lab_files_has_each_strategy() -> None:
    page = (REFERENCE / "lab-format.md").read_text()
    shown = {strategy.name: strategy for strategy in STRATEGIES} | {f"{HOST_SHIM.name}: true": HOST_SHIM}
    rows = [f"| `{name}` | {strategy.in_words} | {strategy.typed} |" for name, strategy in shown.items()]
    assert "\n".join(rows) in page


@pytest.mark.long
@pytest.mark.parametrize(("two_hosts", "part"), [(False, 1), (True, 3)])
def test_the_page_of_the_matrix_has_what_is_predicted_and_was_observed_so(two_hosts: bool, part: int) -> None:
    printed = (REFERENCE / "matrix.md").read_text().split("\n---\n")[part]
    *page, verdict = printed.strip("\n").split("\n")
    matrix = predicted(plans(2, two_hosts=two_hosts))
    *lines, _ = matrix_report.render_markdown(matrix).strip("\n").split("\n")
    assert page == lines
    every = len(matrix.cells)
    assert re.fullmatch(rf"{every} of {every} cells as predicted; uml, kernel \S+; [\d.]+ s", verdict)


def part_of_kernels(name: str) -> list[str]:
    """Return the lines that scripts/kernels-page wrote into a part of its page."""
    page = (REFERENCE / "kernels.md").read_text()
    return (
        page.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0].strip("\n").split("\n")
    )


@pytest.mark.long
def test_the_page_of_kernels_has_what_is_predicted_and_was_observed_so_on_each() -> None:
    *page, verdict = part_of_kernels("matrix")
    matrix = predicted(plans(2))
    *lines, _ = matrix_report.render_markdown(matrix).strip("\n").split("\n")
    legend = matrix_report.LEGEND.count("\n")
    assert page == [*lines[:legend], matrix_report.OF_KERNELS.strip(), *lines[legend:]]
    every = 4 * len(matrix.cells)
    releases = r"5\.10\.\d+, 6\.1\.\d+, 6\.12\.\d+, 7\.2\.\d+"
    assert re.fullmatch(rf"{every} of {every} cells as predicted; uml, kernels {releases}; [\d.]+ s", verdict)


def test_the_page_of_kernels_has_the_gallery_as_predicted_on_each() -> None:
    _, _, *rows = (line.strip("|").split("|") for line in part_of_kernels("gallery"))
    assert [row[0].strip() for row in rows] == list(gallery.names())
    for name, *counts in rows:
        plan = make_plan(load(gallery.text(name.strip()), name.strip()))
        checks = sum(step.probe is not None for step in plan.steps)
        assert [count.strip() for count in counts] == 4 * [f"{checks} of {checks}"]


def test_every_lab_of_the_gallery_is_named_in_the_pages_about_its_rule() -> None:
    explained = "\n".join(line for d in DOCUMENTS if "/explanation/" in d.name for line in d.prose)
    assert [name for name in gallery.names() if f"/lab/gallery/{name}.yaml" not in explained] == []


def test_the_schema_of_labs_is_one() -> None:
    jsonschema_rs.meta.validate(schema())


def test_a_new_lab_names_the_schema_that_comes_with_ipvkit(capsys: pytest.CaptureFixture[str]) -> None:
    """The file is written with `ipvkit labs schema > ipvkit/lab/lab.schema.json`."""
    assert main(["labs", "new"]) == 0
    file = ROOT / "ipvkit/lab/lab.schema.json"
    line, _, text = capsys.readouterr().out.partition("\n")
    assert line == f"# yaml-language-server: $schema={file.as_uri()}"
    assert load(text, "my-lab.yaml").name == "my-lab"
    assert json.loads(file.read_text()) == schema()


@for_each("name", gallery.names())
def test_the_schema_of_labs_takes_the_gallery(name: str) -> None:
    jsonschema_rs.Draft202012Validator(schema()).validate(yaml.safe_load(gallery.text(name)))


@pytest.mark.parametrize(
    "wrong",
    ["mode: l4", "flag: vlan", "abuot: x", "watch: 0", "gateway: 192.168.104.254/24", "expect: maybe"],
)
def test_the_schema_of_labs_refuses_what_is_wrong(wrong: str) -> None:
    key = wrong.partition(":")[0]
    text = gallery.text(gallery.WALKTHROUGH)
    if key in text:
        changed = re.sub(rf"\b{key}: [^\n}},]+", wrong, text, count=1)
    elif key == "flag":
        changed = text.replace("mode: l2", f"mode: l2\n    {wrong}")
    elif key == "expect":
        changed = text.replace("to: test2", f"to: test2, {wrong}", 1)
    else:
        changed = text.replace("about:", f"{key}:", 1)
    assert changed != text
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.Draft202012Validator(schema()).validate(yaml.safe_load(changed))
