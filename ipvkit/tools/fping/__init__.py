"""``fping``, which pings many hosts in one process: the builder of its argv and the parser of its output."""

from ipvkit.tools.fping.build import fping
from ipvkit.tools.fping.parse import FpingReport, parse_fping

__all__ = ["FpingReport", "fping", "parse_fping"]
