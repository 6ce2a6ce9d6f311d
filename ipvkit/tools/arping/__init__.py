"""``arping``: the builders of its argv and the parser of its output."""

from ipvkit.tools.arping.build import (
    VERSION,
    Implementation,
    announce,
    find_duplicate,
    implementation,
    probe,
)

__all__ = ["VERSION", "Implementation", "announce", "find_duplicate", "implementation", "probe"]
