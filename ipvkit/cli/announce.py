"""``ipvkit announce``."""

import sys
from dataclasses import replace
from typing import Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Netns, ipv4, one_form, parent_called, reader_has_gone
from ipvkit.core.errors import UsageError
from ipvkit.core.values import address, alternative_name, duration
from ipvkit.host import program
from ipvkit.report.announce import json_line, left_alone, line, preview
from ipvkit.report.systemd import unit as unit_of
from ipvkit.targets.local import Local
from ipvkit.tools import arping
from ipvkit.verbs.announce import Announcement, Event, keep
from ipvkit.verbs.single import version


def announce(
    addresses: Annotated[list[str], Argument(metavar="ADDRESS", help="IPv4 addresses.")],
    parent: Annotated[str, Option(metavar="DEV", help="The parent, to send out of.")],
    every: Annotated[str, Option(metavar="TIME", help="The interval: 3s, 500ms, 1m.")] = "3s",
    for_: Annotated[
        str | None, Option("--for", metavar="TIME", help="The duration. Default: until stopped.")
    ] = None,
    netns: Netns = None,
    force: Annotated[bool, Option("--force", help="Announce addresses of no endpoint, too.")] = False,
    json_: Annotated[bool, Option("--json", help="Print one JSON line per change.")] = False,
    unit: Annotated[bool, Option("--unit", help="Print a systemd unit for it, execute nothing.")] = False,
    dry_run: DryRun = False,
) -> int:
    """Endpoints in l3 mode do not answer ARP, so other hosts learn their addresses from these packets.

    It prints a line per change: started, an address fails, it is announced again, stopped. It sets
    net.ipv4.ip_nonlocal_bind if needed, and restores it at the end.

    Exit code: 0 --for is over, 2 wrong usage, or an address of no endpoint, 3 the parent is missing or
    down, or not permitted, 4 a command failed, 130 stopped by ^C, TERM, HUP or QUIT, and restored.
    """
    one_form(dry_run=dry_run, json_=json_)
    for given, name in ((json_, "--json"), (dry_run, "--dry-run"), (for_ is not None, "--for")):
        if unit and given:
            raise UsageError(f"--unit does not go with {name}", "a unit runs without end")
    announced = tuple(ipv4(text, "IPv6 uses neighbour discovery", address) for text in addresses)
    # In another namespace, and at another time, it may be the name of another link.
    dev = alternative_name(parent) if netns or unit else parent_called(parent)
    every_s = duration(every)
    for_s = None if for_ is None else duration(for_)
    announcement = Announcement(announced, dev, every_s, for_s, netns, force)
    if unit:
        emit(unit_of(announcement, program.words()))
        if closed := program.closed_folder():
            how = "install ipvkit for all users, as in `sudo pipx install --global .`"
            print(f"note: the unit cannot enter {closed}: {how}", file=sys.stderr)
        return 0
    if dry_run:
        emit(preview(announcement))
        return 0
    return _keep(announcement, as_json=json_)


def _keep(announcement: Announcement, *, as_json: bool) -> int:
    if sys.stdout is None:
        raise UsageError("stdout is closed", "give it /dev/null")
    announcement = replace(announcement, by=arping.implementation(version(arping.VERSION)))
    render = json_line if as_json else line

    def show(event: Event) -> bool:
        text = render(event)
        return emit(text) if text else not reader_has_gone()

    stopped = keep(announcement, Local(), show)
    for problem in (left_alone(stopped), stopped.failure):
        if problem:
            print(problem, file=sys.stderr)
    return stopped.exit_code
