"""From a Plan to what others read: preview, script."""

from ipvkit.export.writer import LOST_AFTER, NO_ROUTE, exported, preview

__all__ = ["LOST_AFTER", "NO_ROUTE", "exported", "preview"]
