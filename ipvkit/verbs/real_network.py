"""What the options of the command line give of a real network."""

from collections.abc import Mapping
from dataclasses import dataclass

from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.lab import Lab, on_parent


@dataclass(frozen=True, slots=True)
class RealNetwork:
    """What is known of a real network before looking; without `parent` the lab's LAN is simulated."""

    parent: str
    addresses: Mapping[str, InterfaceAddress]
    gateway: Address | None
    neighbour: Address | None

    def previewed(self, lab: Lab) -> Lab:
        """Return `lab` on this network, as far as it is known without looking at the machine."""
        if not self.parent:
            return lab
        return on_parent(
            lab,
            self.parent,
            addresses=self.addresses,
            gateway=self.gateway or next(iter(lab.parents[0].gateway), None),
            neighbour=self.neighbour,
        )
