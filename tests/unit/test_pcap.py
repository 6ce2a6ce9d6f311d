"""Files of frames: what is read of those that tcpdump wrote, and what others read of ours."""

import subprocess
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest
from dpkt import pcap as dpkt_pcap
from dpkt import pcapng as dpkt_pcapng
from hypothesis import given
from hypothesis import strategies as st

from captures import FRAMES
from ipvkit.core.errors import UnparsableOutput
from ipvkit.targets.programs import find_program
from ipvkit.tools.pcap import Frame, pcapng, read_pcap
from ipvkit.tools.tcpdump import parse_capture
from requires import requires

PCAPS = sorted(FRAMES.glob("*.pcap"))
COUNTS = "tcpdump: listening on eth0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n{}"
SOME = "{} packets captured\n{} packets received by filter\n{} packets dropped by kernel\n"


@pytest.mark.parametrize("path", PCAPS, ids=lambda path: path.stem)
def test_a_file_of_tcpdump_is_read_as_another_reader_does(path: Path) -> None:
    content = path.read_bytes()
    found = [(frame.at_us, frame.data) for frame in read_pcap(content)]
    assert found == [(round(at * 1e6), data) for at, data in dpkt_pcap.Reader(BytesIO(content))]
    assert len(found) > 1


@pytest.mark.parametrize("path", PCAPS, ids=lambda path: path.stem)
def test_a_file_that_is_cut_off_has_no_half_frame(path: Path) -> None:
    content = path.read_bytes()
    whole = list(read_pcap(content))
    for size in range(len(content)):
        try:
            found = list(read_pcap(content[:size]))
        except UnparsableOutput:
            continue
        assert len(found) < len(whole)
        assert found == whole[: len(found)]


def test_a_file_of_a_big_endian_machine_is_read() -> None:
    header = "a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001"
    content = bytes.fromhex(f"{header} 00000007 00000008 00000002 00000002 beef")
    assert list(read_pcap(content)) == [Frame(7_000_008, b"\xbe\xef")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + bytes(40),
        # Linux cooked: not Ethernet.
        bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 71000000"),
        # Times in nanoseconds.
        bytes.fromhex("4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000"),
    ],
)
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(UnparsableOutput):
        list(read_pcap(content))


def blocks_of(content: bytes) -> list[bytes]:
    """Return the blocks of a pcapng file; each has its length at its beginning and at its end."""
    found = []
    while content:
        size = int.from_bytes(content[4:8], "little")
        assert content[size - 4 : size] == content[4:8]
        found.append(content[:size])
        content = content[size:]
    return found


ANY_FRAME = st.builds(Frame, st.integers(0, 2**62), st.binary(max_size=70))


@given(st.lists(st.tuples(st.integers(0, 1), ANY_FRAME, st.text(max_size=40)), max_size=6))
def test_another_reader_finds_each_frame_with_its_comment(frames: list[tuple[int, Frame, str]]) -> None:
    first, *links_and_frames = blocks_of(b"".join(pcapng(["h1 eth0", "h2 eth0"], frames)))
    assert dpkt_pcapng.SectionHeaderBlockLE(first).v_major == 1
    links, blocks = links_and_frames[:2], map(dpkt_pcapng.EnhancedPacketBlockLE, links_and_frames[2:])
    names = [dpkt_pcapng.InterfaceDescriptionBlockLE(block).opts[0].data for block in links]
    assert names == [b"h1 eth0", b"h2 eth0"]
    read = [
        (
            block.iface_id,
            Frame((block.ts_high << 32) + block.ts_low, bytes(block.pkt_data)),
            "".join(option.text for option in block.opts if option.code == 1),
        )
        for block in blocks
    ]
    assert read == frames


@requires("tcpdump")
def test_tcpdump_reads_what_is_written(tmp_path: Path) -> None:
    content = (FRAMES / "l2-answered-test1.pcap").read_bytes()
    file = tmp_path / "test1.pcapng"
    frames = ((0, frame, "phase l2: test1 -> gateway") for frame in read_pcap(content))
    file.write_bytes(b"".join(pcapng(["test1"], frames)))
    done = subprocess.run(
        [str(find_program("tcpdump")), "-tttt", "-nr", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC"},
    )
    first, *others = done.stdout.splitlines()
    assert (
        first
        == "2026-11-29 02:13:29.755382 ARP, Request who-has 192.168.104.254 tell 192.168.104.211, length 28"
    )
    assert len(others) == 13
    assert b"phase l2: test1 -> gateway" in file.read_bytes()


@pytest.mark.parametrize(
    ("counts", "missing"), [((2, 2, 0), 0), ((2, 3, 0), 0), ((2, 2, 5), 5), ((0, 4, 1), 1)]
)
def test_what_came_while_checks_ran_and_was_not_written_is_missing(
    counts: tuple[int, int, int], missing: int
) -> None:
    text = b64encode((FRAMES / "l3-unanswered-test1.pcap").read_bytes()).decode()
    found = parse_capture(COUNTS.format(SOME.format(*counts)), text)
    assert (len(found.frames), found.missing) == (2, missing)


@pytest.mark.parametrize("last", ["", "tcpdump: eth0: You don't have permission\n", "1 packet captured\n"])
def test_without_its_counts_a_capture_is_not_trusted(last: str) -> None:
    with pytest.raises(UnparsableOutput):
        parse_capture(COUNTS.format(last), "")
