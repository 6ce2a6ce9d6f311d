"""The command line. `main` answers `--help` and `--version` itself: Typer takes ten times as long to load."""

import gc
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType

from ipvkit import __version__
from ipvkit.core.errors import IpvkitError
from ipvkit.core.interrupts import EARLIER, Stopped, heeded

SUMMARIES = {
    "run-lab": "Run a lab on a real kernel and compare it with the prediction.",
    "export-script": "Write a lab as a bash script that runs without ipvkit.",
    "import": "Write a lab file of files that Docker, CNI or networkd read.",
    "export": "Write a lab as files that Docker, CNI or networkd read.",
    "explain": "Explain why one node cannot reach another, and how to fix it.",
    "review": "Show who cannot reach whom, by reason, or what a change does.",
    "matrix": "Test every mode, flag, strategy and pair on a real kernel.",
    "inspect": "Show what is on the parents of this machine, and what is wrong.",
    "adopt": "Write a lab file that describes this machine.",
    "diff": "Show how this machine differs from a lab, with commands.",
    "labs": "List, show, check, draw and create labs.",
    "grade": "Grade scripts that build what a lab describes.",
    "shell": "Open a shell on a simulated LAN, or run commands there.",
    "status": "List labs that are up on this machine, and interrupted runs.",
    "cleanup": "Undo what interrupted runs left on this machine.",
    "down": "Take down a lab that `run-lab --keep` left up.",
    "netns": "Add, list and delete network namespaces.",
    "link": "Add, list, change and delete links.",
    "addr": "Add, list and delete addresses.",
    "route": "Add, list and delete routes.",
    "rule": "Add, list and delete rules of policy routing.",
    "neigh": "List neighbour entries.",
    "ping": "Ping a host and summarize the replies and errors.",
    "arping": "Ask which host has an address, find duplicates, or announce it.",
    "announce": "Send gratuitous ARP periodically for l3 endpoints.",
    "measure-arp": "Measure how long a neighbour keeps an announced address.",
    "parse": "Convert output of ping, arping or ip to a table or JSON.",
    "kernels": "List the kernels of target uml, and fetch others.",
    "doctor": "Check which targets work here, and how to fix the others.",
}
"""What each command does, for the overview and for its own help."""


def overview() -> str:
    """Return what `ipvkit --help` prints, in 80 columns."""
    commands = "\n".join(f"  {name:<13}  {summary}" for name, summary in SUMMARIES.items())
    return f"""\
Usage: ipvkit [--debug] COMMAND [OPTIONS] [ARGUMENTS]

Predict what Linux ipvlan does, run it on a real kernel, and compare.

Commands (see also ipvkit COMMAND --help):
{commands}

Options:
  --version             Print the version.
  --debug               Show the traceback of an error.
  --install-completion  Install completion for this shell.
  --show-completion     Print it instead.
  --help                Print this.

Examples:
  ipvkit run-lab                   run the walkthrough; needs no root
  ipvkit run-lab --dry-run         print its commands, execute nothing
  ipvkit export-script > lab.sh    the same as a bash script
  ipvkit shell                     try ipvlan by hand; needs no root
"""


def emit(text: str | Iterable[str]) -> bool:
    """Write `text`, or its pieces, to stdout; return False where that is a closed pipe, as in ``| head``."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.writelines([text] if isinstance(text, str) else text)
        sys.stdout.flush()
    except OSError as problem:
        # The rest of the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(problem, BrokenPipeError):
            return False
        raise IpvkitError(f"stdout cannot be written: {problem.strerror}") from None
    return True


def terminal_width() -> int | None:
    """Return how many columns the terminal on stdout has; None where stdout is not a terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    # Few outputs need it.
    from shutil import get_terminal_size

    return get_terminal_size().columns


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's) and return the exit code."""
    former = {}
    # A large lab is millions of values without cycles, and collections took a third of the time.
    gc.set_threshold(200_000, 50, 100)
    try:
        # Only the main thread has signals.
        with suppress(ValueError):
            former = {number: signal.signal(number, _interrupt) for number in heeded()}
        return _run(list(sys.argv[1:] if argv is None else argv))
    except Stopped:
        if sys.stderr is not None:
            sys.stderr.write("error: interrupted; nothing had begun, or all of it had ended\n")
        return 130
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        EARLIER.clear()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    EARLIER.append(number)
    raise Stopped


def _run(arguments: list[str]) -> int:
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
    from ipvkit.cli.commands import run

    return run(arguments)
