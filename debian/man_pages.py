"""Write the man pages: python3 debian/man_pages.py FOLDER. help2man makes each of the help of its command."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from ipvkit import __version__
from ipvkit.cli import SUMMARIES, main
from ipvkit.cli.commands import loaded_command


def commands() -> Iterator[tuple[str, ...]]:
    """Return the words of each command and subcommand."""
    for name in SUMMARIES:
        yield (name,)
        for subcommand in getattr(loaded_command(name), "commands", ()):
            yield name, subcommand


def helped(words: tuple[str, ...]) -> str:
    """Return the help of a command; help2man would take the indent of its description for an example."""
    shown = StringIO()
    with redirect_stdout(shown):
        main([*words, "--help"])
    description, heading, rest = re.split(r"^([A-Z].*:)$", shown.getvalue(), maxsplit=1, flags=re.M)
    return re.sub("^  ", "", description, flags=re.M) + heading + rest


def page(name: str, text: str, also: list[str], place: Path) -> str:
    """Return the page `name` of a command with the help `text`; `also` are the names of other pages."""
    program, more = place / name, place / "more"
    program.with_suffix(".help").write_text(text, encoding="utf-8")
    program.write_text(f"#!/bin/sh\nexec cat '{program}.help'\n", encoding="utf-8")
    program.chmod(0o755)
    see_also = ",\n".join(f".BR {other} (1)" for other in also)
    more.write_text(f"[SEE ALSO]\n{see_also}\n", encoding="utf-8")
    summary = " ".join(text.split("\n\n")[1].split()).rstrip(".")
    argv = ["help2man", "--no-info", f"--include={more}", f"--version-string={__version__}"]
    argv += [f"--name={summary[0].lower()}{summary[1:]}", "--source=ipvkit", "--manual=ipvkit", str(program)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def write(folder: Path) -> None:
    """Write ipvkit.1, and a page for each command and subcommand."""
    os.environ["COLUMNS"] = "80"
    names = {words: "-".join(("ipvkit", *words)) for words in ((), *commands())}
    folder.mkdir(parents=True)
    with TemporaryDirectory() as place:
        for words, name in names.items():
            above = [words[:length] for length in range(len(words))]
            below = [other for other in names if len(other) == len(words) + 1 and other[:-1] == words]
            text = page(name, helped(words), [names[other] for other in (*above, *below)], Path(place))
            (folder / f"{name}.1").write_text(text, encoding="utf-8")


write(Path(sys.argv[1]))
