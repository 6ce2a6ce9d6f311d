"""A host that answers echo requests in an odd way: odd_host.py WAY. The kernel's own answers are off."""

import socket
import struct
import sys
import time

ICMP_HEADER = 8
REPLY, UNREACHABLE, SOURCE_QUENCH, PARAMETER_PROBLEM = 0, 3, 4, 12


def checksum(data: bytes) -> int:
    """Return the Internet checksum of some bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def message(kind: int, code: int, rest: bytes, spoil: int = 0) -> bytes:
    """Return an ICMP message; `rest` is what follows its checksum."""
    head = struct.pack("!BB", kind, code)
    return head + struct.pack("!H", checksum(head + b"\0\0" + rest) ^ spoil) + rest


def answers(way: str, packet: bytes, sequence: int) -> list[tuple[float, bytes]]:
    """Return the answers to a request (with its IP header) and the seconds after which each is sent."""
    echo = packet[20 + 4 :]
    quoted = b"\0\0\0\0" + packet[: 20 + ICMP_HEADER]
    good = message(REPLY, 0, echo)
    changed = echo[:40] + bytes([echo[40] ^ 0xFF]) + echo[41:]
    match way:
        case "wrong-data":
            return [(0, message(REPLY, 0, changed))]
        case "bad-checksum":
            return [(0, message(REPLY, 0, echo, spoil=1))]
        case "truncated":
            return [(0, message(REPLY, 0, echo[:20]))]
        case "thrice":
            return [(0, good)] * 3
        case "late":
            return [(0.5, good)]
        case "every-second":
            return [(0, good)] * (sequence % 2)
        case "port-unreachable":
            return [(0, message(UNREACHABLE, 3, quoted))]
        case "protocol-unreachable":
            return [(0, message(UNREACHABLE, 2, quoted))]
        case "unknown-code":
            return [(0, message(UNREACHABLE, 42, quoted))]
        case "source-quench":
            return [(0, message(SOURCE_QUENCH, 0, quoted)), (0, good)]
        case "parameter-problem":
            return [(0, message(PARAMETER_PROBLEM, 0, b"\x14" + quoted[1:]))]
    raise SystemExit(f"unknown way: {way}")


def main() -> None:
    """Answer until killed, or for two minutes."""
    way = sys.argv[1]
    end = time.monotonic() + 120
    late: list[tuple[float, bytes, str]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as host:
        host.settimeout(0.02)
        while time.monotonic() < end:
            try:
                packet, (sender, _) = host.recvfrom(65535)
            except TimeoutError:
                pass
            else:
                if packet[20] == ICMP_HEADER:  # 8 is the type of an echo request, too
                    sequence = int.from_bytes(packet[26:28], "big")
                    now = time.monotonic()
                    late += [(now + wait, data, sender) for wait, data in answers(way, packet, sequence)]
            for due in [one for one in late if one[0] <= time.monotonic()]:
                late.remove(due)
                host.sendto(due[1], (due[2], 0))


main()
