"""The preview of a plan: one command a line, as a person types it."""

from ipvkit.core.command import Command
from ipvkit.plan.steps import Plan, Step


def preview(plan: Plan) -> str:
    """Return what would run, one command a line as typed, under its purpose."""
    lines = [f"# lab {plan.lab.name}: {plan.lab.about}"]
    for section in plan.sections:
        lines += ["", f"# ==== {section.title} ===="]
        for stage in section.stages:
            lines += ["", f"# concurrent, {len(stage)} commands:"] if len(stage) > 1 else [""]
            for step in stage:
                lines += [f"# {on(plan, step)}{step.purpose}", str(step.command)]
        lines += [f"# skipped: {probe.check}: {probe.skipped}" for probe in section.skipped]
    lines += ["", "# ==== undo, in reverse ===="]
    for step, undo in ((step, step.undo) for step in plan.undos if step.undo is not None):
        command = undo.command(undo.typical)
        lines += [f"# {on(plan, step)}{what_it_does(command)}", str(command)]
    return "\n".join(lines) + "\n"


def on(plan: Plan, step: Step) -> str:
    """Return on which machine `step` runs, where there are several."""
    return f"on {step.on}: " if plan.lab.several_hosts else ""


def what_it_does(undo: Command) -> str:
    """Return what the command of an undo does, in words.

    >>> what_it_does(Command(("ip", "netns", "del", "test2")))
    'delete namespace test2'
    """
    match undo.argv:
        case ("ip", "link", "set", name, "name", other):
            return f"rename {name} to {other}"
        case ("ip", "link", "set", name, "mtu", mtu, "down"):
            return f"bring {name} down, with mtu {mtu} again"
        case ("ip", "-n", netns, "link", "set", name, "netns", "1", "name", other, "down"):
            return f"move {name} out of namespace {netns}, as {other}"
        case ("ip", "addr", "del", own, "dev", dev):
            return f"delete the address {own} of {dev}"
        case ("ip", "netns", "del", name):
            return f"delete namespace {name}"
        case ("ip", "link", "delete", name):
            return f"delete link {name}"
        case ("ip", "netns", "exec", netns, "ip", "link", "delete", name):
            return f"delete link {name} in namespace {netns}"
        case ("ip", "neigh", "del", "proxy", address, "dev", dev):
            return f"delete the proxy entry for {address} on {dev}"
        case ("ip", "route", "del", to, *_):
            return f"delete the route to {to}"
        case ("ip", "-n", netns, "route", "del", to, *_):
            return f"delete the route to {to} in namespace {netns}"
        case ("ip", "-n", netns, "neigh", "del", address, *_):
            return f"delete the neighbour entry for {address} in namespace {netns}"
        case ("sysctl", "-w", setting):
            key, _, value = setting.partition("=")
            return f"restore {key} to the value that was read before, here {value}"
        case _:
            return "restore what was there before"
