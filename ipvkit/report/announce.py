"""The events of `ipvkit announce`: a line for each, or a JSON line, ``ipvkit/announce/v1``."""

from ipvkit.report.plain import chosen, commented, error
from ipvkit.report.plain import json_line as line_of
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.verbs.announce import (
    LOOK_ELSEWHERE,
    Announcement,
    Began,
    Event,
    Failed,
    Reason,
    Recovered,
    Round,
    Stopped,
)

_WHY: dict[Reason, str] = {"time": "time is up", "reader": "the output was closed", "error": "it failed"}


def preview(announcement: Announcement) -> str:
    """Return every command with its purpose; the machine decides which of them are needed."""
    parent, every = announcement.parent, f"every {announcement.every_s:g} s"
    before = {f"check that {parent} is up, and which addresses the host has": announcement.look}
    if not announcement.force:
        before["check that the others are those of endpoints"] = LOOK_ELSEWHERE
    before |= {
        f"unless the host has all of them, read {NONLOCAL_BIND}": announcement.read,
        "if that is 0, let arping send from an address that the host does not have": announcement.write(1),
    }
    rounds = {f"announce {each} {every}": announcement.once(each) for each in announcement.addresses}
    return commented({**before, **rounds, "at the end, restore it": announcement.write(0)})


def line(event: Event) -> str:
    """Return the line of `event`; nothing for a round."""
    match event:
        case Began(announcement):
            return f"announcing {_what(announcement)}\n"
        case Failed(address, _, message):
            return f"{address}: arping failed: {message}\n"
        case Recovered(address):
            return f"{address}: announced again\n"
        case Stopped(reason, rounds):
            why = _WHY.get(reason, f"interrupted by {reason}")
            again = f"; {NONLOCAL_BIND} = {event.value} again" if event.sysctl == "restored" else ""
            return f"stopped after {rounds} round{'' if rounds == 1 else 's'} ({why}){again}\n"
        case Round():
            return ""


def _what(announcement: Announcement) -> str:
    addresses = ", ".join(map(str, announcement.addresses))
    place = "" if announcement.netns is None else f" in namespace {announcement.netns}"
    until = "" if announcement.for_s is None else f", for {announcement.for_s:g} s"
    return f"{addresses} out of {announcement.parent}{place} every {announcement.every_s:g} s{until}"


def json_line(event: Event) -> str:
    """Return the JSON line of `event`; nothing for a round."""
    match event:
        case Began(announcement, nonlocal_bind):
            fields = chosen(announcement, "addresses parent netns every_s for_s")
            return line_of("announce", event="announcing", **fields, nonlocal_bind=nonlocal_bind)
        case Failed(address, after_s, message, command):
            fields = {"after_s": round(after_s, 3), "address": str(address), "message": message}
            return line_of("announce", event="failed", **fields, command=str(command))
        case Recovered(address, after_s):
            return line_of("announce", event="recovered", after_s=round(after_s, 3), address=str(address))
        case Stopped(failure=failure):
            fields = {"after_s": round(event.after_s, 3), **chosen(event, "rounds reason sysctl value")}
            return line_of("announce", event="stopped", **fields, error=failure and error(failure))
        case Round():
            return ""


def left_alone(event: Stopped) -> str:
    """Return the line for stderr about a sysctl that another process changed meanwhile, or nothing."""
    if event.sysctl != "changed":
        return ""
    now = f"{NONLOCAL_BIND} was set to 1 and is {event.value} now"
    return f"{now}: another process changed it, so it is not restored"
