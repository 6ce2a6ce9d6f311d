"""From a Plan to bash, and back from what a payload prints: the only place that knows shell syntax."""

from ipvkit.script.frames import Frame, read_frames
from ipvkit.script.row import RowReader, row, side_by_side, told_in
from ipvkit.script.writer import LOST_AFTER, NO_ROUTE, exported, payload, preview

__all__ = [
    "LOST_AFTER",
    "NO_ROUTE",
    "Frame",
    "RowReader",
    "exported",
    "payload",
    "preview",
    "read_frames",
    "row",
    "side_by_side",
    "told_in",
]
