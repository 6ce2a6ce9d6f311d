"""Options that commands of all sorts have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the commands, execute nothing.")]
Netns = Annotated[
    str | None, typer.Option("-n", "--netns", metavar="NETNS", help="The network namespace to act in.")
]
