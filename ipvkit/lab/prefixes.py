"""Networks by the addresses in them."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from ipvkit.core.values import Address, Network

T = TypeVar("T")


class Prefixes(Generic[T]):
    """Networks, each with what it stands for, found by an address without looking at all of them.

    >>> from ipaddress import ip_address, ip_network
    >>> names = Prefixes([(ip_network("192.0.2.0/24"), "lan"), (ip_network("192.0.2.64/26"), "part")])
    >>> list(names.containing(ip_address("192.0.2.65")))
    ['part', 'lan']
    """

    def __init__(self, networks: Iterable[tuple[Network, T]]) -> None:
        self._found: dict[tuple[int, int, int], list[T]] = {}
        for network, value in networks:
            key = _key(network.network_address, network.prefixlen)
            self._found.setdefault(key, []).append(value)
        self._lengths = {
            version: sorted({length for v, length, _ in self._found if v == version}, reverse=True)
            for version in (4, 6)
        }

    def containing(self, address: Address) -> Iterator[T]:
        """Yield what the networks stand for that `address` is in, the longest prefix first."""
        for length in self._lengths[address.version]:
            yield from self._found.get(_key(address, length), ())


def _key(address: Address, length: int) -> tuple[int, int, int]:
    return address.version, length, int(address) >> (address.max_prefixlen - length)
