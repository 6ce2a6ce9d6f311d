"""All errors: one root class and its subclasses, each with its exit code."""

UNREAD = "the state of this machine could not be read"
"""The message where a command failed that shows this state."""

_LONGEST_SHOWN = 200


class IpvkitError(Exception):
    """What happened, a hint how to fix it, and the exact command line with its stderr, where there is one."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", *, command: str = "", stderr: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.command, self.stderr = command, stderr

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        if self.command:
            lines.append(f"  command: {self.command}")
        lines += [f"  {line}" for line in self.stderr.splitlines()]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(printable(line, "\n\t") for line in lines)


def printable(text: str, kept: str = "") -> str:
    """Return `text` with escapes for what neither prints nor is `kept`: a terminal would act on it."""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


class UsageError(IpvkitError):
    """An invalid option, name, address or file."""

    exit_code = 2


class InvalidLab(UsageError):
    """An invalid lab; `path` leads to the invalid part, such as ``("phases", 0, "do", 1)``."""

    def __init__(self, message: str, hint: str = "", path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message, hint)
        self.path = path


class MissingRequirement(IpvkitError):
    """This machine lacks a tool, a feature of the kernel or a privilege."""

    exit_code = 3


class CommandFailed(IpvkitError):
    """A command failed or did not end in time; what was done has been undone."""


class UnparsableOutput(IpvkitError):
    """A tool printed a line, counted from 1, that its parser does not know; nothing is guessed."""

    def __init__(self, tool: str, line_number: int, line: str) -> None:
        shown = line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"
        hint = "see which tools are installed with `ipvkit doctor`, and run them under LC_ALL=C"
        super().__init__(f"the output of {tool} was not understood at line {line_number}: {shown!r}", hint)
        self.tool, self.line_number, self.line = tool, line_number, line


class Interrupted(IpvkitError):
    """A signal stopped ipvkit: ^C, TERM, HUP or QUIT."""

    exit_code = 130
