"""Networks by the addresses in them, and addresses with the length of their network's prefix."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_interface
from typing import Generic

from ipvkit.core.command import T
from ipvkit.core.values import Address, InterfaceAddress, Network


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
            self._found.setdefault(_key(network.network_address, network.prefixlen), []).append(value)
        self._lengths = sorted({(version, length) for version, length, _ in self._found}, reverse=True)

    def containing(self, address: Address) -> Iterator[T]:
        """Yield what the networks stand for that `address` is in, the longest prefix first."""
        for version, length in self._lengths:
            if version == address.version:
                yield from self._found.get(_key(address, length), ())


def _key(address: Address, length: int) -> tuple[int, int, int]:
    return address.version, length, int(address) >> (address.max_prefixlen - length)


@lru_cache(maxsize=4096)
def with_prefix(own: Address, length: int) -> InterfaceAddress:
    """Return an address with a prefix length; the model asks for the same few again and again.

    >>> from ipaddress import ip_address
    >>> with_prefix(ip_address("192.168.104.211"), 24)
    IPv4Interface('192.168.104.211/24')
    """
    return ip_interface((own, length))
