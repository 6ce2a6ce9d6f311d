"""``tcpdump``, which captures frames: tcpdump(8), pcap-savefile(5)."""

import re
from binascii import Error, a2b_base64
from dataclasses import dataclass

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import interface_name
from ipvkit.tools.pcap import Frame, read_pcap

__all__ = ["Written", "capture", "content", "parse_capture", "wrote_all", "wrote_header"]


@dataclass(frozen=True, slots=True)
class Written:
    """The frames that a tcpdump wrote, and how many it lost, since it was too slow."""

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


def wrote_all(file: str) -> Command:
    """Return the command that prints something once tcpdump has written to `file` what there was: it sleeps.

    Frames that it has not read when it is asked to end are lost (pcap_breakloop(3PCAP)).

    >>> str(wrote_all("/run/gateway.pcap"))
    'pgrep --runstates S --full /run/gateway.pcap'
    """
    # A regular expression, in which the name of a lab may have characters such as +.
    return Command(("pgrep", "--runstates", "S", "--full", re.sub(r"[^\w/-]", ".", file)))


def content(file: str) -> Command:
    """Return the command that prints `file` as text.

    >>> str(content("/run/gateway.pcap"))
    'base64 -w 0 /run/gateway.pcap'
    """
    return Command(("base64", "-w", "0", file))


_COUNTS = re.compile(
    r"^[0-9]+ packets? captured\n[0-9]+ packets? received by filter\n"
    r"([0-9]{1,18}) packets? dropped by kernel$",
    re.MULTILINE,
)


def parse_capture(counts: str, text: str) -> Written:
    """Return what was captured: `counts` is what tcpdump printed at its end, `text` what `content` did.

    What was received and not captured came before the filter was set, or after `wrote_all`. Raise
    UnparsableOutput for other texts.
    """
    if (found := _COUNTS.search(counts)) is None:
        lines = counts.rstrip("\n").split("\n")
        raise UnparsableOutput("tcpdump", len(lines), lines[-1])
    try:
        frames = tuple(read_pcap(a2b_base64(text, strict_mode=True)))
    except Error:
        raise UnparsableOutput("base64", 1, text[:80]) from None
    return Written(frames, int(found[1]))
