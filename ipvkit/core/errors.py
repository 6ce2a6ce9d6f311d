"""All errors: one root class and its subclasses, each with its exit code."""

_LONGEST_SHOWN = 200


class IpvkitError(Exception):
    """What happened, and a hint how to fix it."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", *, command: str = "", stderr: str = "") -> None:
        """Keep `message`, `hint`, the exact `command` line and its own `stderr`, where there are any."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command
        self.stderr = stderr

    def __str__(self) -> str:
        """Return the lines that are printed to stderr."""
        lines = [f"error: {self.message}"]
        if self.command:
            lines.append(f"  command: {self.command}")
        lines += [f"  {line}" for line in self.stderr.splitlines()]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """Return `text` with escapes for what does not print: a terminal would act on control codes."""
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


class UsageError(IpvkitError):
    """An invalid option, name, address or file."""

    exit_code = 2


class InvalidLab(UsageError):
    """An invalid lab; `path` leads to the invalid part, as keys and positions."""

    def __init__(self, message: str, hint: str = "", path: tuple[str | int, ...] = ()) -> None:
        """Keep the `path`, such as ``("phases", 0, "do", 1)``."""
        super().__init__(message, hint)
        self.path = path


class MissingRequirement(IpvkitError):
    """This machine lacks a tool, a feature of the kernel or a privilege."""

    exit_code = 3


class CommandFailed(IpvkitError):
    """A command failed or did not end in time; what was done has been undone."""


class UnparsableOutput(IpvkitError):
    """A tool printed a line that its parser does not know; nothing is guessed."""

    def __init__(self, tool: str, line_number: int, line: str) -> None:
        """Keep the `tool`, and the unknown `line` with its number, from 1."""
        shown = line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"
        super().__init__(
            f"the output of {tool} was not understood at line {line_number}: {shown!r}",
            "see which tools are installed with `ipvkit doctor`, and run them under LC_ALL=C",
        )
        self.tool = tool
        self.line_number = line_number
        self.line = line


class Interrupted(IpvkitError):
    """A signal stopped ipvkit: ^C, TERM or HUP."""

    exit_code = 130
