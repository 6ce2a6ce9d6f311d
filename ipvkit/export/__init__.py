"""From a Plan to bash, and back from what a payload prints: the only place that knows shell syntax."""

from ipvkit.export.frames import Frame, read_frames
from ipvkit.export.row import RowReader, row, side_by_side, told_in
from ipvkit.export.writer import LOST_AFTER, NO_ROUTE, exported, payload, preview

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
