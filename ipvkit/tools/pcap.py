"""Files of frames: pcap, which tcpdump writes (pcap-savefile(5)), and pcapng, in which frames have comments.

For pcapng see draft-ietf-opsawg-pcapng.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import error, pack, unpack_from

from ipvkit.core.errors import UnparsableOutput

_ETHERNET = 1
_ORDERS = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame, and when it was captured, in microseconds since 1970."""

    at_us: int
    data: bytes


def read_pcap(content: bytes) -> Iterator[Frame]:
    """Yield the frames of a pcap file; raise UnparsableOutput for another file, or one that is cut off."""
    order = _ORDERS.get(content[:4])
    try:
        if order is None or unpack_from(f"{order}I", content, 20)[0] != _ETHERNET:
            raise UnparsableOutput("tcpdump", 1, repr(content[:24]))
        at = 24
        while at < len(content):
            seconds, microseconds, size = unpack_from(f"{order}III", content, at)
            at += 16 + size
            if at > len(content):
                raise UnparsableOutput("tcpdump", 1, f"the last frame is cut off, at byte {len(content)}")
            yield Frame(seconds * 1_000_000 + microseconds, content[at - size : at])
    except error:
        raise UnparsableOutput("tcpdump", 1, f"the file is cut off, at byte {len(content)}") from None


def pcapng(links: Sequence[str], frames: Iterable[tuple[int, Frame, str]]) -> Iterator[bytes]:
    """Yield a pcapng file, piece by piece: the names of `links`, and of each frame its link and a comment."""
    yield _block(0x0A0D0D0A, pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for name in links:
        yield _block(1, pack("<HHI", _ETHERNET, 0, 0) + _option(2, name))
    for link, frame, comment in frames:
        size = len(frame.data)
        head = pack("<IIIII", link, frame.at_us >> 32, frame.at_us & 0xFFFFFFFF, size, size)
        yield _block(6, head + _padded(frame.data) + _option(1, comment))


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return pack("<II", kind, size) + body + pack("<I", size)


def _option(code: int, text: str) -> bytes:
    """Return one option and the end of options, or nothing for an empty `text`."""
    value = text.encode()
    return pack("<HH", code, len(value)) + _padded(value) + bytes(4) if value else b""


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
