"""Captured frames as a timeline: on frames of a real kernel, and on any bytes."""

from ipaddress import ip_address

from dpkt import arp, ethernet, icmp, ip
from hypothesis import given
from hypothesis import strategies as st

from captures import FRAMES
from ipvkit.lab import Check, Lab, Outcome, gallery
from ipvkit.lab.format import load
from ipvkit.plan.steps import Capture, Probe
from ipvkit.report.timeline import Seen, lines, timeline
from ipvkit.run.capture import Captured
from ipvkit.run.verdicts import Verdict
from ipvkit.tools.packet import parse_frame
from ipvkit.tools.pcap import Frame, read_pcap


def lab(name: str) -> Lab:
    return load(gallery.text(name), name)


def probe(check: Check) -> Probe:
    return Probe(check, None, Outcome.REACHABLE, "")


def captured(name: str, phase: str, *checks: Check) -> tuple[Captured, ...]:
    """Return what was captured at each node of a fixture."""
    probes = tuple(map(probe, checks))
    found = []
    for path in sorted(FRAMES.glob(f"{name}-*.pcap")):
        role = path.stem.rpartition("-")[2]
        of = Capture(role, "test1" if role == "test1" else "eth0", "x", phase, probes)
        found.append(Captured(of, tuple(read_pcap(path.read_bytes())), 0, 0, 1))
    return tuple(found)


def shown(name: str, in_lab: str, phase: str, *checks: Check) -> list[str]:
    """Return the timeline of the first of `checks`."""
    verdict = Verdict(probe(checks[0]), captured=captured(name, phase, *checks))
    return lines(timeline(lab(in_lab), verdict))


def test_a_request_without_an_answer_is_shown_as_such() -> None:
    assert shown("l3-unanswered", "l3-silent", "l3", Check("neighbour", "test1")) == [
        "  0.000 s neighbour: ARP who-has 192.168.104.211 tell 192.168.104.111, 2 times in 1.0 s, no answer; "
        "also at gateway, host, test1"
    ]


def test_requests_with_answers_are_shown_with_their_number() -> None:
    assert shown("l2-answered", "l2", "l2", Check("test1", "gateway")) == [
        "  0.000 s test1: ARP who-has 192.168.104.254 tell 192.168.104.211, answered; "
        "also at gateway, neighbour",
        "  0.000 s test1: ICMP echo request 192.168.104.211 > 192.168.104.254, 6 times in 1.0 s, "
        "all answered; also at gateway",
    ]


def test_a_node_that_only_hears_the_request_knows_of_no_answer() -> None:
    verdict = Verdict(
        probe(Check("test1", "gateway")), captured=captured("l2-answered", "l2", Check("test1", "gateway"))
    )
    found = timeline(lab("l2"), verdict)
    asked = {one.node: (one.count, one.answered, one.sent) for one in found if "who-has" in one.packet}
    assert asked == {"test1": (1, 1, True), "gateway": (1, 1, False), "neighbour": (1, 0, False)}
    [echo] = [one for one in found if one.node == "gateway" and "echo" in one.packet]
    assert (echo.link, echo.count, echo.answered) == ("eth0", 6, 6)
    assert (echo.first_s, echo.last_s) == (0.000115, 1.034978)


def test_ndp_is_paired_as_arp_is() -> None:
    assert shown("ipv6-answered", "ipv6", "l2", Check("test1", "gateway")) == [
        "  0.000 s test1: NDP who-has 2001:db8:104::254 tell 2001:db8:104::211, answered",
        "  0.000 s test1: ICMPv6 echo request 2001:db8:104::211 > 2001:db8:104::254, 6 times in 1.0 s, "
        "all answered",
    ]


def test_a_tcp_connection_is_answered_by_its_acceptance() -> None:
    found = shown("tcp", "tcp-service", "l2", Check("neighbour", "test1", tcp=8080))
    assert found[:2] == [
        "  0.000 s neighbour: ARP who-has 192.168.104.211 tell 192.168.104.111, answered",
        "  0.004 s neighbour: TCP connect 192.168.104.111.36676 > 192.168.104.211.8080, answered",
    ]
    assert "  0.025 s neighbour: TCP end 192.168.104.211.8080 > 192.168.104.111.36676" in found


def test_a_refused_connection_is_answered_too() -> None:
    assert shown("refused", "tcp-service", "l2", Check("neighbour", "test1", tcp=8081)) == [
        "  0.000 s neighbour: ARP who-has 192.168.104.211 tell 192.168.104.111, answered",
        "  0.000 s neighbour: TCP connect 192.168.104.111.55942 > 192.168.104.211.8081, answered",
    ]


def test_only_what_concerns_the_check_is_shown() -> None:
    """The same frames, for a check of other nodes: each end saw nothing of it."""
    assert shown("l2-answered", "l2", "l2", Check("test2", "neighbour")) == [
        "          neighbour: no packet of this check"
    ]


def test_what_a_concurrent_check_asks_is_not_shown() -> None:
    neighbour, gateway = Check("neighbour", "test1"), Check("gateway", "test1")
    frame = Frame(5, request("192.168.104.211", "192.168.104.254"))
    for checks, count in (((neighbour,), 1), ((neighbour, gateway), 0)):
        of = Capture("neighbour", "eth0", "x", "l3", tuple(map(probe, checks)))
        found = timeline(
            lab("l3-silent"), Verdict(probe(neighbour), captured=(Captured(of, (frame,), 0, 0, 9),))
        )
        assert [one.count for one in found] == [count]


def request(target: str, source: str) -> bytes:
    who_has = arp.ARP(
        spa=ip_address(source).packed, tpa=ip_address(target).packed, tha=bytes(6), sha=bytes(6)
    )
    return bytes(ethernet.Ethernet(type=ethernet.ETH_TYPE_ARP, data=who_has))


def test_an_answer_that_only_another_node_saw_is_named() -> None:
    one = Seen("test1", "test1", "ARP who-has B tell A", 2, 0, 0.0, 1.0, sent=True)
    other = Seen("test2", "test2", "ARP who-has B tell A", 2, 2, 0.0, 1.0)
    assert lines([other, one]) == [
        "  0.000 s test1: ARP who-has B tell A, 2 times in 1.0 s, no answer at test1, "
        "but at test2; also at test2"
    ]


def test_frames_that_are_missing_are_named() -> None:
    of = Capture("host", "eth0", "x", "l3", (probe(Check("host", "test1")),))
    verdict = Verdict(probe(Check("host", "test1")), captured=(Captured(of, (), 3, 0, 1),))
    assert lines(timeline(lab("l3-silent"), verdict)) == [
        "          host: no packet of this check",
        "          host: frames missing at eth0: 3",
    ]


def test_an_error_of_a_router_is_shown_to_whom_it_is_sent() -> None:
    error = icmp.ICMP(type=3, code=1, data=icmp.ICMP.Unreach(data=ip.IP()))
    packet = ip.IP(src=bytes([192, 168, 104, 254]), dst=bytes([192, 168, 104, 211]), p=1, data=error)
    found = parse_frame(bytes(ethernet.Ethernet(type=ethernet.ETH_TYPE_IP, data=packet)))
    assert found is not None
    assert found.what == "ICMP host unreachable 192.168.104.254 > 192.168.104.211"
    assert found.error


def test_a_frame_with_a_vlan_tag_is_read() -> None:
    inner = request("192.0.2.1", "192.0.2.2")
    found = parse_frame(inner[:12] + bytes.fromhex("8100 0007") + inner[12:])
    assert found is not None
    assert found.what == "ARP who-has 192.0.2.1 tell 192.0.2.2"


ALL = [frame.data for path in sorted(FRAMES.glob("*.pcap")) for frame in read_pcap(path.read_bytes())]


@given(st.binary(max_size=100) | st.sampled_from(ALL), st.data())
def test_any_frame_is_read_or_passed_over(frame: bytes, data: st.DataObject) -> None:
    damaged = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        damaged[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    found = parse_frame(bytes(damaged))
    assert found is None or found.what.isprintable()


def test_each_frame_of_a_real_capture_is_understood() -> None:
    found = [parse_frame(frame) for frame in ALL]
    assert len(found) > 60
    assert None not in found
