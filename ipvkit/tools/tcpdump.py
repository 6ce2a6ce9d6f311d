"""``tcpdump``, which captures frames: tcpdump(8), pcap-savefile(5)."""

import re
from binascii import Error, a2b_base64
from dataclasses import dataclass

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import interface_name
from ipvkit.tools.pcap import Frame, read_pcap

__all__ = ["Written", "capture", "content", "parse_capture", "wrote_header"]


@dataclass(frozen=True, slots=True)
class Written:
    """The frames that a tcpdump wrote, and how many others it saw or lost."""

    frames: tuple[Frame, ...]
    missing: int


def capture(dev: str, file: str, *words: str) -> Command:
    """Return the command that writes to `file` what a filter of `words` accepts at `dev`, until TERM.

    >>> str(capture("eth0", "/run/gateway.pcap"))
    'tcpdump -i eth0 -p --immediate-mode -U -Z root -w /run/gateway.pcap'
    """
    # Promiscuous mode would change what the link receives; without -Z another user cannot create the file.
    options = ("-p", "--immediate-mode", "-U", "-Z", "root", "-w", file)
    return Command(("tcpdump", "-i", interface_name(dev), *options, *words))


def wrote_header(file: str) -> Command:
    """Return the command that prints `file` once its header is written: then tcpdump captures already.

    >>> str(wrote_header("/run/gateway.pcap"))
    'find /run/gateway.pcap -size +0'
    """
    return Command(("find", file, "-size", "+0"))


def content(file: str) -> Command:
    """Return the command that prints `file` as text.

    >>> str(content("/run/gateway.pcap"))
    'base64 -w 0 /run/gateway.pcap'
    """
    return Command(("base64", "-w", "0", file))


_COUNTS = re.compile(
    r"^([0-9]{1,18}) packets? captured\n([0-9]{1,18}) packets? received by filter\n"
    r"([0-9]{1,18}) packets? dropped by kernel$",
    re.MULTILINE,
)


def parse_capture(command: Command, counts: str, text: str) -> Written:
    """Return what `command` captured: `counts` is what it printed at its end, `text` that of `content`.

    Raise UnparsableOutput for other texts.
    """
    if (found := _COUNTS.search(counts)) is None:
        lines = counts.rstrip("\n").split("\n")
        raise UnparsableOutput("tcpdump", len(lines), lines[-1])
    try:
        frames = tuple(read_pcap(a2b_base64(text, strict_mode=True)))
    except Error:
        raise UnparsableOutput("base64", 1, text[:80]) from None
    captured, received, dropped = map(int, found.groups())
    # With a filter what came before that was set counts as received too (set_kernel_filter() in libpcap).
    is_filtered = command.argv[-2] != "-w"
    return Written(frames, dropped + (0 if is_filtered else received - captured))
