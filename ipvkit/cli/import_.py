"""``ipvkit import``."""

from typing import Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.verbs import formats
from ipvkit.verbs.lab_file import for_editors, sources_at


def import_(
    files: Annotated[
        list[str],
        Argument(metavar="FILE", help="A file of another tool, or a folder.", show_default=False),
    ],
    format_: Annotated[
        str | None, Option("--format", metavar="FORMAT", help="Default: recognized by the content.")
    ] = None,
) -> None:
    """It writes a lab file, as in: ipvkit import net.conflist > lab.yaml.

    Several files, of one format, become one lab, and a folder stands for the files in it. Comments list what
    they leave open, such as the gateway.

    Exit code: 0 written, 2 wrong usage or invalid file.
    """
    sources = [source for file in files for source in sources_at(file)]
    emit(for_editors(formats.imported(sources, format_)))
