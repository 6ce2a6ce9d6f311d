"""The option by which a subcommand also writes reports."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ipvkit.core.errors import UsageError
from ipvkit.verbs.lab_file import is_path

if TYPE_CHECKING:
    from ipvkit.report.entries import Report

REPORT_HELP = "Also write a report: .html, .md, .xml (JUnit), .json, or github. Repeatable."


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports to write; UsageError is raised for one of an unknown format, before anything runs."""

    report: Annotated[list[str] | None, Option(metavar="FILE", help=REPORT_HELP)] = None

    def __post_init__(self) -> None:
        if self.report:
            # Without a report there is no use for these.
            from ipvkit.report.reports import refuse_wrong

            refuse_wrong(self.report)

    def refuse_preview(self) -> None:
        """Raise UsageError where reports are wanted of what is not run."""
        if self.report:
            raise UsageError(
                "--report does not go with --dry-run", "a preview runs nothing: omit one of the two"
            )

    def require_packets(self) -> None:
        """Raise MissingRequirement where reports are wanted, and what reads packets is not installed."""
        if self.report:
            from ipvkit.report.timeline import require_dpkt

            require_dpkt()

    @property
    def are_wanted(self) -> bool:
        """Whether there are any."""
        return bool(self.report)

    def write(self, made: "Callable[[], Report]") -> None:
        """Write what `made` returns, if a report is wanted."""
        if self.report:
            from ipvkit.report.reports import write_all

            write_all(made(), self.report)


def file_of(lab: str | None) -> str:
    """Return the path of the file that LAB is, or nothing where it is a lab of the gallery."""
    return str(Path(lab)) if lab and is_path(lab) else ""
