"""A lab: the network that is built, and the checks that are run in it. It uses no option of a tool."""

from ipvkit.lab.lab import Lab as Lab
from ipvkit.lab.lab import RealParent as RealParent
from ipvkit.lab.lab import on_hosts as on_hosts
from ipvkit.lab.lab import on_its_hosts as on_its_hosts
from ipvkit.lab.lab import on_parent as on_parent
from ipvkit.lab.lab import with_devices as with_devices

# Every name of parts is one of the vocabulary of labs.
from ipvkit.lab.parts import *  # noqa: F403
from ipvkit.lab.prefixes import Prefixes as Prefixes
