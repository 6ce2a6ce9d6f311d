"""What can go wrong, as a person reads it: one root and its leaves, each with its exit code."""

_LONGEST_SHOWN = 200


class IpvkitError(Exception):
    """Something that a person has to know: what happened, and what to do about it."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", *, command: str = "", stderr: str = "") -> None:
        """Keep `message`, `hint`, the exact `command` line and its own `stderr`, where there are any."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command
        self.stderr = stderr

    def __str__(self) -> str:
        """Return the lines that a person reads, as the contract on errors has them."""
        lines = [f"error: {self.message}"]
        if self.command:
            lines.append(f"  command: {self.command}")
        lines += [f"  {line}" for line in self.stderr.splitlines()]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """Return `text` with the codes of what does not print: a terminal would do what some of it says."""
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


class UsageError(IpvkitError):
    """An option, a name, an address or a file that ipvkit cannot take."""

    exit_code = 2


class InvalidLab(UsageError):
    """A lab that does not say what can be done; `path` leads to the part, as keys and positions."""

    def __init__(self, message: str, hint: str = "", path: tuple[str | int, ...] = ()) -> None:
        """Keep the `path`, such as ``("phases", 0, "do", 1)``."""
        super().__init__(message, hint)
        self.path = path


class MissingRequirement(IpvkitError):
    """This machine cannot: a tool, the kernel or a privilege is missing."""

    exit_code = 3


class CommandFailed(IpvkitError):
    """A command failed or did not end in time; what was done has been undone."""


class UnparsableOutput(IpvkitError):
    """A tool printed what its parser does not know; nothing is guessed."""

    def __init__(self, tool: str, line_number: int, line: str) -> None:
        """Keep the `tool`, and the `line` that was not understood with its number, from 1."""
        super().__init__(
            f"the output of {tool} was not understood at line {line_number}: {_short(line)!r}",
            "was it another tool of that name, or not run under LC_ALL=C? see `ipvkit doctor`",
        )
        self.tool = tool
        self.line_number = line_number
        self.line = line


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"


class Interrupted(IpvkitError):
    """A person or the system asked ipvkit to stop (^C, TERM, HUP)."""

    exit_code = 130
