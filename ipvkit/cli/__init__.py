"""The command line. `main` answers `--help` and `--version` itself: Typer takes ten times as long to load."""

import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper

from ipvkit import __version__
from ipvkit.core.errors import IpvkitError

SUMMARIES = {
    "run-lab": "Run a lab on a real kernel and compare it with what ipvlan's rules predict.",
    "export-script": "Write a lab as a bash script that needs neither ipvkit nor Python.",
    "explain": "Tell why one part of a lab does not reach another, and what mends it.",
    "matrix": "Hold every mode, flag, family, strategy and pair against a real kernel.",
    "labs": "List, show and check labs: the gallery's, and your own.",
    "shell": "Open a shell on a simulated LAN, in a kernel of its own, or run commands there.",
    "status": "List the labs that are up on this machine, and the runs that were interrupted.",
    "cleanup": "Undo what interrupted runs have left on this machine, and nothing else.",
    "down": "Take a lab down that `run-lab --keep` has left up.",
    "netns": "Add, list and delete network namespaces.",
    "link": "Add, list, change and delete links: ipvlan, and what it is compared with.",
    "addr": "Add, list and delete addresses.",
    "route": "Add, list and delete routes.",
    "neigh": "List neighbour entries.",
    "ping": "Ping a host and tell who said what.",
    "arping": "Ask a link who has an address, whether anybody has it, or announce it.",
    "announce": "Keep addresses announced by ARP, which ipvlan endpoints in l3 mode cannot do.",
    "measure-arp": "Measure how long an announcement lives at a neighbour, and compare with its timers.",
    "parse": "Turn what ping, arping or ip printed into a table or JSON.",
    "doctor": "Tell which targets work on this machine, and what mends those that do not.",
}


def overview() -> str:
    """Return what `ipvkit --help` prints."""
    commands = "\n".join(f"  {name:<15}{summary}" for name, summary in SUMMARIES.items())
    return f"""\
Usage: ipvkit [--debug] COMMAND [OPTIONS] [ARGUMENTS]

ipvkit tells what Linux ipvlan will really do: predicted, run on a real kernel, compared.

Commands (ipvkit COMMAND --help tells more):
{commands}

Options:
  --version             Print the version.
  --debug               Show the traceback of an error.
  --install-completion  Install completion for this shell.
  --show-completion     Print it instead.
  --help                Print this.

To begin with:
  ipvkit run-lab                       the walkthrough, on a kernel of its own, with no root
  ipvkit run-lab --dry-run             every command of it, and nothing is executed
  ipvkit export-script > lab.sh        the same as bash, for somebody without ipvkit
  ipvkit shell                         a LAN to try ipvlan by hand, with no root
"""


def emit(text: str | Iterable[str]) -> bool:
    """Write `text`, or its pieces, to stdout; return False where the reader has gone, as in ``| head``."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.writelines([text] if isinstance(text, str) else text)
        sys.stdout.flush()
    except OSError as problem:
        # What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(problem, BrokenPipeError):
            return False
        raise IpvkitError(f"stdout cannot be written: {problem.strerror}") from None
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the terminal's character set lacks is shown as its code.
            stream.reconfigure(errors="backslashreplace")
    # A shell that completes gives no arguments.
    if arguments in ([], ["--help"], ["-h"]) and "_IPVKIT_COMPLETE" not in os.environ:
        emit(overview())
        return 0
    if arguments == ["--version"]:
        emit(f"ipvkit {__version__}\n")
        return 0
    try:
        from ipvkit.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing had begun, or all of it had ended\n")
        return 130
