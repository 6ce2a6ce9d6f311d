"""The modules that the running kernel can load, and the hint where it has no ipvlan."""

import platform
import re
from pathlib import Path

MODULES = Path("/lib/modules")


def loadable(module: str) -> bool:
    """Return whether a `module` of the running kernel is installed, so that modprobe(8) can load it."""
    try:
        index = (MODULES / platform.release() / "modules.dep").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(rf"(^|/){re.escape(module)}\.ko[.\w]*:", index, re.MULTILINE) is not None


def ipvlan_hint() -> str:
    """Return how to get ipvlan on a kernel that has none: modprobe only where that module exists."""
    return "sudo modprobe ipvlan, or --target uml" if loadable("ipvlan") else "use --target uml"
