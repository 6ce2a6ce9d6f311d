"""The documents are true: their commands run and print what is shown, their links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from documents import NOT_RUN, REFERENCE, ROOT, Document, documents, problem, run
from ipvkit.cli import SUMMARIES
from ipvkit.cli.app import GROUPS, app
from ipvkit.errors import InvalidLab
from ipvkit.lab import load

DOCUMENTS = documents()
ALL_SHOWN = [shown for document in DOCUMENTS for shown in document.shown]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
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


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if any(s.runs_in == "fast" for s in d.shown)], ids=by_name
)
def test_commands_print_what_is_shown(document: Document, tmp_path: Path) -> None:
    document.write_files(tmp_path)
    ran: dict[str, tuple[int, str]] = {}
    problems = []
    for shown in document.shown:
        if shown.runs_in == "fast":
            if shown.command not in ran:
                ran[shown.command] = run(shown.command, tmp_path)
            problems.append(problem(shown, *ran[shown.command]))
    assert not any(problems), "\n\n".join(filter(None, problems))


def test_what_is_not_run_is_shown_somewhere() -> None:
    assert set(NOT_RUN) == {shown.command for shown in ALL_SHOWN if shown.runs_in == "nowhere"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_yaml_blocks_are_yaml_and_labs_load(document: Document) -> None:
    for block in document.blocks:
        if block.language == "yaml":
            text = "\n".join(block.lines)
            yaml.safe_load(text)
            refused = [s for s in document.shown if block.name in s.command and s.exit_code == 2]
            if block.name and not refused:
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


def commands() -> dict[str, Any]:
    """Return each command of the Typer application by its name."""
    found: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return found


def test_commands_are_those_of_the_overview() -> None:
    assert set(commands()) == set(SUMMARIES)


def section_of_cli(title: str) -> str:
    """Return the text of a section of cli.md, its blocks left out: they are copies of --help."""
    prose = "\n".join(Document(REFERENCE / "cli.md").prose)
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", prose, re.MULTILINE | re.DOTALL)
    assert found is not None, f"cli.md has no section {title}"
    return found[1]


def single_commands() -> dict[str, Any]:
    """Return the commands of the groups, such as `link add`, by their words."""
    groups = {name: command for name, command in commands().items() if hasattr(command, "commands")}
    return {f"{name} {sub}": command for name, g in groups.items() for sub, command in g.commands.items()}


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


@pytest.mark.parametrize("name", [*single_commands(), *GROUPS])
def test_cli_page_shows_the_help_of_each_single_command(name: str) -> None:
    assert f"ipvkit {name} --help" in [shown.command for shown in Document(REFERENCE / "cli.md").shown]


def test_cli_page_names_the_options_of_ipvkit_itself() -> None:
    section = section_of_cli("ipvkit")
    group: Any = typer.main.get_command(app)
    names = [option for parameter in group.params for option in parameter.opts]
    assert [name for name in [*names, "--version", "--help"] if f"`{name}" not in section] == []


def test_cli_page_has_no_option_that_is_not_there() -> None:
    group: Any = typer.main.get_command(app)
    known = {"--help", "--version"} | {option for p in group.params for option in p.opts}
    every = [*commands().values(), *single_commands().values()]
    known |= {option for command in every for p in command.params for option in p.opts}
    known |= {option for command in every for p in command.params for option in p.secondary_opts}
    prose = "\n".join(Document(REFERENCE / "cli.md").prose)
    assert set(re.findall(r"`(--?[a-z][a-z-]*)", prose)) <= known


LEVELS = {
    "lab": "{KEY: 1}",
    "network": "{name: a, about: a, parent: eth0, endpoints: [], phases: [], network: {KEY: 1}}",
    "endpoints": "{name: a, about: a, parent: eth0, endpoints: [{KEY: 1}], phases: [], network: {}}",
    "phases": "{name: a, about: a, parent: eth0, endpoints: [], phases: [{KEY: 1}], network: NETWORK}",
    "do": "{name: a, about: a, parent: eth0, endpoints: [], phases: [PHASE], network: NETWORK}".replace(
        "PHASE", "{name: a, mode: l2, do: [{KEY: 1}]}"
    ),
    "check": "{name: a, about: a, parent: eth0, endpoints: [], phases: [PHASE], network: NETWORK}".replace(
        "PHASE", "{name: a, mode: l2, do: [{check: [{KEY: 1}]}]}"
    ),
}
"""A lab that is wrong at each level in one way: it has a key that nobody knows."""


@pytest.mark.parametrize("level", LEVELS)
def test_lab_format_page_names_every_key(level: str) -> None:
    text = LEVELS[level].replace("NETWORK", "{host: 192.0.2.1/24, gateway: 192.0.2.254}")
    with pytest.raises(InvalidLab, match="unknown key") as raised:
        load(text.replace("KEY", "qqqqqq"), "a.yaml")
    keys = raised.value.hint.removeprefix("there is ").split(", ")
    page = "\n".join(Document(REFERENCE / "lab-format.md").prose)
    section = re.search(rf"^##+ [^\n]*`{level}`.*?(?=^##+ |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"lab-format.md has no section for `{level}`"
    assert [key for key in keys if f"| `{key}`" not in section[0]] == []
