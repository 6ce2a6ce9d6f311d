"""Steps in fewer processes: what can be the lines of one ``ip -batch`` becomes one step."""

from collections.abc import Iterable, Sequence

from ipvkit.core.command import Command
from ipvkit.lab import BATCH_FROM
from ipvkit.plan.steps import Stage, Step
from ipvkit.tools.ip import batch, line_of

_MOST_PURPOSES = 2


def batched(stages: Iterable[Stage]) -> list[Stage]:
    """Return the same steps, those of one namespace as the lines of a batch.

    Stages one after another that all act in the machine's own namespace become one, and so do those that
    all act inside of others: nothing done in one of those may need what is done in another.
    """
    done: list[Stage] = []
    row: list[Step] = []
    was_inside = False
    for stage in stages:
        lines = [line_of(step.command) for step in stage if step.probe is None]
        inside = {line.netns is not None for line in lines if line is not None}
        if row and (None in lines or len(lines) < len(stage) or inside != {was_inside}):
            done.append(_batches(row))
            row = []
        if None in lines or len(lines) < len(stage):
            done.append(stage)
        elif len(inside) > 1:
            done.append(_batches(stage))
        else:
            row += stage
            was_inside = True in inside
    return [*done, _batches(row)] if row else done


def _batches(steps: Sequence[Step]) -> Stage:
    """Return `steps` with those of each namespace in one."""
    by_netns: dict[str | None, list[tuple[Step, str]]] = {}
    for step in steps:
        line = line_of(step.command)
        if line is not None:
            by_netns.setdefault(line.netns, []).append((step, line.text))
    return tuple(_batch(netns, found) for netns, found in by_netns.items())


def _batch(netns: str | None, found: Sequence[tuple[Step, str]]) -> Step:
    parts = tuple(step for step, _ in found)
    if len(parts) == 1:
        return parts[0]
    purposes = list(dict.fromkeys(part.purpose for part in parts))
    more = len(purposes) - _MOST_PURPOSES
    told = "; ".join(purposes[:_MOST_PURPOSES]) + (f"; and {more} more" if more > 0 else "")
    return Step(
        f"{parts[0].id}+{len(parts) - 1}", told, batch([text for _, text in found], netns), parts=parts
    )


def undo_batches(undos: Iterable[tuple[str, Command]]) -> list[tuple[tuple[str, ...], Command]]:
    """Return in how many processes `undos` are done, commands each with its step's id, in that order.

    Where many in a row act in the machine's own namespace, they are the lines of a batch, which goes on after
    a line that fails.
    """
    done: list[tuple[tuple[str, ...], Command]] = []
    row: list[tuple[str, Command, str]] = []

    def end_row() -> None:
        if len(row) >= BATCH_FROM:
            done.append((tuple(id for id, _, _ in row), batch([line for _, _, line in row], force=True)))
        else:
            done.extend(((id,), command) for id, command, _ in row)
        row.clear()

    for id, command in undos:
        line = line_of(command)
        if line is None or line.netns is not None:
            end_row()
            done.append(((id,), command))
        else:
            row.append((id, command, line.text))
    end_row()
    return done
