"""Runs a command line: the one place where an error becomes a line and an exit code."""

import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from ipvkit.cli import emit
from ipvkit.cli.commands import GROUPS, group
from ipvkit.core.errors import Interrupted, IpvkitError, UsageError
from ipvkit.core.interrupts import EARLIER
from ipvkit.report.plain import error


class _ControlC(BaseException):
    """^C was typed. Nothing on the way takes it for an error of its own."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors become lines on stderr."""
    if arguments[-1:] and arguments[-1] in GROUPS and set(arguments[:-1]) <= {"--debug"}:
        arguments = [*arguments, "--help"]
    try:
        with _interrupts_told():
            code = group()(list(arguments), prog_name="ipvkit", standalone_mode=False)
        return int(code or 0)
    except SystemExit:
        # Typer's way to end when the reader of its help has gone.
        return 0
    except _ControlC:
        return _tell(Interrupted("interrupted", "nothing had begun, or all of it had ended"), arguments)
    except Exception as problem:
        if "--debug" in arguments:
            traceback.print_exc()
        return _tell(_known(problem), arguments)


@contextmanager
def _interrupts_told() -> Iterator[None]:
    """Have ^C raise what Typer does not know: of KeyboardInterrupt it makes an exit without a word."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        EARLIER.append(number)
        raise _ControlC

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        EARLIER.clear()


def _known(problem: Exception) -> IpvkitError:
    """Return `problem` as one that a person can read."""
    match problem:
        case IpvkitError():
            return problem
        case typer.TyperException():
            what = " ".join(problem.format_message().split()).rstrip(".").replace("Value error, ", "")
            return UsageError(what, "ipvkit COMMAND --help tells the options")
        case _:
            what = f"{type(problem).__name__}: {problem}"
            return IpvkitError(f"ipvkit itself failed ({what})", "--debug shows where; please report it")


def _tell(problem: IpvkitError, arguments: Sequence[str]) -> int:
    if "--json" in arguments:
        emit(json.dumps({"schema": "ipvkit/error/v1", "error": error(problem)}, indent=2) + "\n")
    print(problem, file=sys.stderr)
    return problem.exit_code
