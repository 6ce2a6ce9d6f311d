"""Measurements of an announcement, as tables and as one JSON document, ``ipvkit/measure-arp/v1``."""

from collections.abc import Iterator

from ipvkit.lab import NEIGHBOUR
from ipvkit.plan.lan import PEER_DEV
from ipvkit.report.plain import chosen, document, grid, prediction_word
from ipvkit.run.engine import Run
from ipvkit.verbs.measure_arp import ADDRESS, INTERVAL_S, STALE, Measured


def render_table(measured: Measured, run: Run) -> str:
    """Return the neighbour's timers, each prediction with what was measured, and the verdict."""
    timers = grid(measured.timers.items(), ("timer", "value"))
    rows = grid(_rows(measured), ("what", "predicted", "measured", "verdict"))
    where = f"{run.target}, kernel {run.kernel}" if run.kernel else run.target
    lives = f"an announcement lives {_seconds(measured.predicted.lifetime_s)} once it is used"
    return (
        f"the {NEIGHBOUR}'s net.ipv4.neigh.{PEER_DEV}\n{timers}\n\n{rows}\n\n"
        f"{prediction_word(measured.passed)}: {lives}; {where}; {run.duration_s:.1f} s\n"
    )


def _rows(measured: Measured) -> Iterator[tuple[str, str, str, str]]:
    bounds, lived, idle_s = measured.predicted, measured.lifetime_s, measured.measurement.idle_s
    rows = [("entry after the announcement", STALE, measured.announced)]
    rows += [(f"entry after {_seconds(idle_s)} idle", STALE, measured.idle)] if idle_s else []
    rows += [("first ping then", "answered", "answered" if measured.answered else "not answered")]
    for what, predicted, found in rows:
        yield what, predicted, found or "none", prediction_word(predicted == found)
    between = f"{_seconds(bounds.earliest_s)} to {_seconds(bounds.latest_s)}"
    predicted = f"{_seconds(bounds.lifetime_s)} ({between})"
    off = "no end seen" if lived is None else f"{lived:.2f} s ({lived - bounds.lifetime_s:+.2f} s)"
    word = prediction_word(measured.lifetime_as_predicted)
    yield f"life, pinged every {_seconds(INTERVAL_S)}", predicted, off, word


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 2):g} s"


def render_json(measured: Measured, run: Run) -> str:
    """Return the document of what was measured."""
    bounds, found = measured.predicted, measured.lifetime_s
    return document(
        "measure-arp",
        verdict="pass" if measured.passed else "fail",
        target={"kind": run.target, "kernel": run.kernel or None},
        duration_s=round(run.duration_s, 3),
        address=str(ADDRESS.ip),
        fast=measured.measurement.fast,
        **chosen(measured, "timers announced"),
        idle_s=measured.measurement.idle_s,
        **chosen(measured, "idle answered"),
        interval_s=INTERVAL_S,
        predicted_s=bounds.lifetime_s,
        earliest_s=round(bounds.earliest_s, 3),
        latest_s=round(bounds.latest_s, 3),
        measured_s=None if found is None else round(found, 3),
        difference_s=None if found is None else round(found - bounds.lifetime_s, 3),
    )
