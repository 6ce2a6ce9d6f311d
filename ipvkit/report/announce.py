"""The events of `ipvkit announce`: a line for each, or a JSON line, ``ipvkit/announce/v1``."""

from typing import Any

from ipvkit.report.outputs import commented
from ipvkit.report.plain import chosen, error
from ipvkit.report.plain import json_line as line_of
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.verbs.announce import Announcement, Began, Event, Failed, Reason, Recovered, Round, Stopped

_WHY: dict[Reason, str] = {
    "time": "time is up",
    "reader": "the output was closed",
    "error": "it failed",
}


def preview(announcement: Announcement) -> str:
    """Return every command with its purpose; the machine decides which of them are needed."""
    return commented(
        {
            f"check that {announcement.parent} is up, and which addresses the host has": announcement.look,
            f"unless the host has all of them, read {NONLOCAL_BIND}": announcement.read,
            "if that is 0, let arping send from an address that the host does not have": announcement.write(
                1
            ),
            **{
                f"announce {each} every {announcement.every_s:g} s": announcement.once(each)
                for each in announcement.addresses
            },
            "at the end, restore it": announcement.write(0),
        }
    )


def line(event: Event) -> str:
    """Return the line of `event`; nothing for a round."""
    match event:
        case Began(announcement):
            return f"announcing {_what(announcement)}\n"
        case Failed(address, _, message):
            return f"{address}: arping failed: {message}\n"
        case Recovered(address):
            return f"{address}: announced again\n"
        case Stopped():
            return _stopped(event)
        case Round():
            return ""


def _what(announcement: Announcement) -> str:
    addresses = ", ".join(map(str, announcement.addresses))
    place = "" if announcement.netns is None else f" in namespace {announcement.netns}"
    until = "" if announcement.for_s is None else f", for {announcement.for_s:g} s"
    return f"{addresses} out of {announcement.parent}{place} every {announcement.every_s:g} s{until}"


def _stopped(event: Stopped) -> str:
    why = _WHY.get(event.reason, f"interrupted by {event.reason}")
    again = f"; {NONLOCAL_BIND} = {event.value} again" if event.sysctl == "restored" else ""
    return f"stopped after {event.rounds} round{'' if event.rounds == 1 else 's'} ({why}){again}\n"


def json_line(event: Event) -> str:
    """Return the JSON line of `event`; nothing for a round."""
    return "" if isinstance(event, Round) else line_of("announce", **_fields(event))


def _fields(event: Began | Failed | Recovered | Stopped) -> dict[str, Any]:
    match event:
        case Began(announcement, nonlocal_bind):
            fields = chosen(announcement, "addresses parent netns every_s for_s")
            return {"event": "announcing", **fields, "nonlocal_bind": nonlocal_bind}
        case Failed(address, after_s, message, command):
            when = {"after_s": round(after_s, 3), "address": str(address)}
            return {"event": "failed", **when, "message": message, "command": str(command)}
        case Recovered(address, after_s):
            return {"event": "recovered", "after_s": round(after_s, 3), "address": str(address)}
        case Stopped():
            fields = {"after_s": round(event.after_s, 3), **chosen(event, "rounds reason sysctl value")}
            return {
                "event": "stopped",
                **fields,
                "error": error(event.failure) if event.failure else None,
            }


def left_alone(event: Stopped) -> str:
    """Return the line for stderr about a sysctl that another process changed meanwhile, or nothing."""
    if event.sysctl != "changed":
        return ""
    now = f"{NONLOCAL_BIND} was set to 1 and is {event.value} now"
    return f"{now}: another process changed it, so it is not restored"
