"""``ipvkit labs``."""

from typing import Annotated, Literal

from typer import Argument, Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import Place, Timeout, group
from ipvkit.cli.options import Checks, LabName, Live, Subnet, gallery_labs, live_twin
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Setting, Strategy, gallery
from ipvkit.lab.format import dump
from ipvkit.lab.new import MOST_ENDPOINTS, MOST_HOSTS, new_lab
from ipvkit.plan.make import make_plan
from ipvkit.report.graph import Format
from ipvkit.report.labs import predictions, schema_json, schema_markdown, summaries
from ipvkit.verbs.lab_file import for_editors, load_lab, subnet_of

Endpoints = Annotated[int, Option(min=1, max=MOST_ENDPOINTS, metavar="N", help="Endpoints, test1 to testN.")]
Markdown = Annotated[bool, Option("--markdown", help="Print Markdown tables of all keys instead.")]


def list_() -> None:
    """List the labs of the gallery."""
    emit(summaries(map(load_lab, gallery.names()), terminal_width()))


def show(
    lab: Annotated[
        str, Argument(metavar="LAB", help="A gallery lab.", autocompletion=gallery_labs)
    ] = gallery.WALKTHROUGH,
) -> None:
    """Print a lab of the gallery.

    Start a lab file with it: ipvkit labs show l2 > my-lab.yaml
    """
    emit(gallery.text(lab))


def check(
    lab: LabName = None,
    live: Live = False,
) -> None:
    """Print the prediction for each check of a lab, or with --live for what is on this machine."""
    if live:
        from ipvkit.verbs.live import checked

        found = checked(live_twin(lab))
    else:
        found = load_lab(lab or gallery.WALKTHROUGH)
    emit(predictions(make_plan(found), terminal_width()))


def graph(
    lab: LabName = None,
    live: Live = False,
    phase: Annotated[str | None, Option(metavar="NAME", help="The phase. Default: the first.")] = None,
    format_: Annotated[
        Format, Option("--format", help="What to print; svg and html need ipvkit[graph] and dot.")
    ] = "text",
    run: Annotated[bool, Option("--check", help="Run the lab, and show what differs.")] = False,
    *,
    place: Place,
    timeout: Timeout = 120,
) -> int:
    """Draw a phase of a lab: its hosts, links and addresses, and which check is reachable.

    Each pair that the phase checks is an edge: green reachable, grey unreachable, and with --check red where
    the kernel differs from the prediction. Of more than 12 endpoints those that are alike are one node.

    With --check the exit code is 1 if a check differs, 3 if this machine cannot, 4 if a command failed.
    """
    # No other subcommand needs these.
    from ipvkit.cli.graph import draw

    if live:
        from ipvkit.verbs.live import checked

        described = checked(live_twin(lab))
    else:
        described = load_lab(lab or gallery.WALKTHROUGH)
    return draw(described, phase, format_, place if run else None, timeout)


def worksheet(
    lab: LabName = None,
    format_: Annotated[
        Literal["md", "html"], Option("--format", help="What to print; html needs ipvkit[report].")
    ] = "md",
) -> None:
    """Print what a lab asks, as questions for those who learn ipvlan, and the answers apart.

    ipvkit labs worksheet mode-flip > worksheet.md
    """
    # No other subcommand needs these.
    from ipvkit.report.worksheet import render

    if format_ == "html":
        from ipvkit.report.html import require_jinja

        require_jinja()
    emit("".join(render(load_lab(lab or gallery.WALKTHROUGH), format_)))


def new(
    name: Annotated[str, Argument(metavar="NAME", help="The lab's name.")] = "my-lab",
    mode: Annotated[Mode, Option(help="The ipvlan mode.")] = "l2",
    flag: Annotated[Flag, Option(help="The ipvlan flag.")] = "bridge",
    strategy: Annotated[Strategy, Option(help="How l3 endpoints become reachable.")] = "none",
    host_shim: Annotated[
        bool, Option("--host-shim", help="Add one ipvlan interface on the host, to reach its endpoints.")
    ] = False,
    endpoints: Endpoints = 2,
    hosts: Annotated[
        int, Option(min=1, max=MOST_HOSTS, metavar="N", help="Hosts, h1 to hN, each with so many endpoints.")
    ] = 1,
    ipv6: Annotated[bool, Option("--ipv6", help="Add IPv6 addresses.")] = False,
    subnet: Subnet = None,
    checks: Checks = None,
) -> None:
    """Generate a lab file.

    Edit it as needed: ipvkit labs new --mode l3 > my-lab.yaml
    """
    setting = Setting(mode, flag, strategy=strategy, host_shim=host_shim)
    within = subnet_of(subnet)
    lab = new_lab(name, setting, endpoints, hosts=hosts, ipv6=ipv6, subnet=within, checks=checks)
    emit(for_editors(dump(lab)))


def schema(markdown: Markdown = False) -> None:
    """Print the JSON Schema of lab files, for editors."""
    emit(schema_markdown() if markdown else schema_json())


labs = group(
    "labs",
    "Only graph --check runs a lab. Exit code: 0 done, 2 wrong usage or invalid lab.",
    {
        "list": list_,
        "show": show,
        "check": check,
        "graph": graph,
        "worksheet": worksheet,
        "new": new,
        "schema": schema,
    },
)
