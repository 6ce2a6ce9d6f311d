"""``ipvkit announce``."""

import select
import stat
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Netns
from ipvkit.cli.single import version
from ipvkit.core.errors import UsageError
from ipvkit.core.values import address, any_address, duration, interface_name
from ipvkit.plan.phases import NONLOCAL_BIND
from ipvkit.report.announce import json_line, left_alone, line
from ipvkit.report.systemd import unit as unit_of
from ipvkit.targets.local import Local
from ipvkit.tools import arping
from ipvkit.verbs.announce import Announcement, Event, keep


def announce(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS", help="IPv4 addresses.")],
    parent: Annotated[str, typer.Option(metavar="DEV", help="The link to send out of: the parent.")],
    every: Annotated[str, typer.Option(metavar="TIME", help="Between two rounds: 3s, 500ms, 1m.")] = "3s",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long. Default: until it is stopped.")
    ] = None,
    netns: Netns = None,
    json_: Annotated[bool, typer.Option("--json", help="Print a JSON line for each change.")] = False,
    unit: Annotated[
        bool, typer.Option("--unit", help="Print a systemd unit that does it, and start nothing.")
    ] = False,
    dry_run: DryRun = False,
) -> int:
    """It sends gratuitous ARP for each address, for ipvlan endpoints in l3 mode: they answer no ARP.

    A line tells of each change: it begins, an address fails, it is announced again, it stops. What it
    needs of the machine, net.ipv4.ip_nonlocal_bind, is set where it has to be, and taken back at the end.

    Exit code: 0 --for is over, 3 the parent is not there or down, or this user may not, 4 a command
    failed, 130 stopped by ^C, TERM or HUP, and all taken back.
    """
    _refuse_combinations(json_=json_, unit=unit, dry_run=dry_run, for_=for_)
    announcement = Announcement(
        tuple(map(_ipv4, addresses)),
        interface_name(parent),
        duration(every),
        None if for_ is None else duration(for_),
        netns,
    )
    if unit:
        emit(unit_of(announcement, _program()))
        return 0
    if dry_run:
        emit(_preview(announcement))
        return 0
    return _keep(announcement, as_json=json_)


def _refuse_combinations(*, json_: bool, unit: bool, dry_run: bool, for_: str | None) -> None:
    if dry_run and json_:
        raise UsageError("--dry-run does not go with --json", "the preview is text, one command a line")
    for given, name in ((json_, "--json"), (dry_run, "--dry-run"), (for_ is not None, "--for")):
        if unit and given:
            raise UsageError(f"--unit does not go with {name}", "it only prints the unit, which has no end")


def _ipv4(text: str) -> IPv4Address:
    found = any_address(text)
    if not isinstance(found, IPv4Address):
        raise UsageError(f"{text} is an IPv6 address, and ARP is IPv4's", "IPv6 has neighbour discovery")
    address(text)
    return found


def _preview(announcement: Announcement) -> str:
    """Return every command with its purpose; what the machine is like decides which are needed."""
    commands = {
        f"see whether {announcement.parent} is up, and which addresses are the host's own": announcement.look,
        f"unless all of them are, see what {NONLOCAL_BIND} is": announcement.read,
        "if that is 0, let arping send from an address that is not the host's own": announcement.write(1),
        **{
            f"announce {each} every {announcement.every_s:g} s": announcement.once(each)
            for each in announcement.addresses
        },
        "at the end, take back what was set": announcement.write(0),
    }
    return "".join(f"# {purpose}\n{command}\n" for purpose, command in commands.items())


def _keep(announcement: Announcement, *, as_json: bool) -> int:
    if sys.stdout is None:
        raise UsageError("stdout is closed", "give it /dev/null")
    announcement = replace(announcement, by=arping.implementation(version(arping.VERSION)))
    render = json_line if as_json else line

    def tell(event: Event) -> bool:
        text = render(event)
        return emit(text) if text else not _reader_has_gone()

    stopped = keep(announcement, Local(), tell)
    for problem in (left_alone(stopped), stopped.failure):
        if problem:
            print(problem, file=sys.stderr)
    return stopped.exit_code


def _reader_has_gone() -> bool:
    """Return whether stdout is a pipe that nobody reads any more, which else only writing shows."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(found & select.POLLERR for _, found in poll.poll(0))


def _program() -> list[str]:
    """Return the words that start this ipvkit from anywhere; say so where the unit could not."""
    script = Path(sys.argv[0]).absolute()
    words = [str(script)] if script.name == "ipvkit" else [sys.executable, "-m", "ipvkit"]
    for path in (Path(words[0]), Path(words[0]).resolve(), Path(__file__).resolve()):
        closed = next((folder for folder in path.parents if _is_closed(folder)), None)
        if closed is not None:
            print(
                f"note: {closed} is closed to others, the unit's root included: "
                "install ipvkit for all users, as in `sudo pipx install --global .`",
                file=sys.stderr,
            )
            break
    return words


def _is_closed(folder: Path) -> bool:
    """Return whether root without its capabilities cannot enter `folder`."""
    found = folder.stat()
    return found.st_uid != 0 and not found.st_mode & stat.S_IXOTH
