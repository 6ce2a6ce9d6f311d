"""From a Plan to what others read: preview, script."""

from ipvkit.export.preview import preview
from ipvkit.export.script import LOST_AFTER, NO_ROUTE, exported

__all__ = ["LOST_AFTER", "NO_ROUTE", "exported", "preview"]
