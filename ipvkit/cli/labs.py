"""``ipvkit labs``."""

from typing import Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import group
from ipvkit.cli.options import Checks, LabName, Live, Subnet, live_twin
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Setting, Strategy, gallery
from ipvkit.lab.format import dump
from ipvkit.lab.new import MOST_ENDPOINTS, MOST_HOSTS, new_lab
from ipvkit.plan.make import make_plan
from ipvkit.report.labs import predictions, schema_json, schema_markdown, summaries
from ipvkit.verbs.lab_file import load_lab, subnet_of

Endpoints = Annotated[int, Option(min=1, max=MOST_ENDPOINTS, metavar="N", help="Endpoints, test1 to testN.")]
Markdown = Annotated[bool, Option("--markdown", help="Print Markdown tables of all keys instead.")]


def list_() -> None:
    """List the labs of the gallery."""
    emit(summaries(map(load_lab, gallery.names())))


def show(lab: Annotated[str, Argument(metavar="LAB", help="A gallery lab.")] = gallery.WALKTHROUGH) -> None:
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
    emit(predictions(make_plan(found)))


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
    emit(dump(new_lab(name, setting, endpoints, hosts=hosts, ipv6=ipv6, subnet=within, checks=checks)))


def schema(markdown: Markdown = False) -> None:
    """Print the JSON Schema of lab files, for editors."""
    emit(schema_markdown() if markdown else schema_json())


labs = group(
    "labs",
    "It runs nothing. Exit code: 0 done, 2 wrong usage or invalid lab.",
    {"list": list_, "show": show, "check": check, "new": new, "schema": schema},
)
