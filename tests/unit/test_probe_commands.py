"""``ipvkit ping`` and ``arping``: by whichever is installed, what came of it, and how they are ended."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import pytest
import test_cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import FIXTURES, text_of
from cases import one_by_default
from command_line import IPVKIT, Called, assert_one_line, commands_in, executed, fakes_on_path, wait_until
from documents import REFERENCE
from ipvkit.core.interrupts import ENDING
from ipvkit.report.arping import ARPING
from ipvkit.report.ping import PING
from ipvkit.tools import arping, ping
from recorder import Answer, Recorder

call = test_cli.call

IPUTILS = "iputils-20240905"
BUSYBOX = "busybox-1.37.0"
INETUTILS = "inetutils-2.6"
HABETS = "habets-arping-2.25"


def text(name: str) -> str:
    return text_of(FIXTURES / f"{name}.txt")


def without_its_first_line(name: str) -> str:
    return text(name).partition("\n")[2]


VERSIONS = {
    "ping": {
        "iputils": Answer(text(f"{IPUTILS}/ping-version")),
        "inetutils": Answer(text(f"{INETUTILS}/ping-version")),
        "busybox": Answer(
            stderr="ping: invalid option -- 'V'\n" + without_its_first_line(f"{BUSYBOX}/ping-version"),
            exit_code=1,
        ),
    },
    "arping": {
        "iputils": Answer(text(f"{IPUTILS}/arping-version")),
        "busybox": Answer(
            stderr="arping: invalid option -- 'V'\n" + without_its_first_line(f"{BUSYBOX}/arping-bad-option"),
            exit_code=1,
        ),
        "habets": Answer(
            stderr="arping: option requires an argument -- 'V'\n"
            + without_its_first_line(f"{HABETS}/arping-bad-option"),
            exit_code=1,
        ),
    },
}
"""What each ping and each arping says to ``-V``."""


def exit_code_of(name: str) -> int:
    """Return the exit code with which the tool ended that printed a capture."""
    folder, _, stem = name.partition("/")
    rows = (FIXTURES / folder / "commands.tsv").read_text().splitlines()
    return next(int(row.split("\t")[1]) for row in rows if row.startswith(f"{stem}\t"))


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return fakes_on_path(tmp_path, monkeypatch)


# --- ping -----------------------------------------------------------------------------------------------

PINGS: dict[str, tuple[str, str, str, str, int]] = {
    "iputils, answered": (
        *("iputils", "ping 192.0.2.3 -c 3", "ping -c 3 -i 1 -W 1 192.0.2.3"),
        *(f"{IPUTILS}/ping-plain", 0),
    ),
    "iputils, some lost": (
        *("iputils", "ping 192.0.2.3 -c 12 -i 0.2", "ping -c 12 -i 0.2 -W 1 192.0.2.3"),
        *(f"{IPUTILS}/ping-loss-middle", 0),
    ),
    "iputils, no answer": (
        *("iputils", "ping 192.0.2.66 -c 3", "ping -c 3 -i 1 -W 1 192.0.2.66"),
        *(f"{IPUTILS}/ping-silent", 1),
    ),
    "iputils, unreachable": (
        *("iputils", "ping 192.0.2.77 -c 3 -W 4", "ping -c 3 -i 1 -W 4 192.0.2.77"),
        *(f"{IPUTILS}/ping-host-unreachable", 1),
    ),
    "iputils, too long for the link": (
        *("iputils", "ping 192.0.2.3 -c 2 -s 1600", "ping -c 2 -i 1 -W 1 -s 1600 192.0.2.3"),
        *(f"{IPUTILS}/ping-too-long-local", 1),
    ),
    "iputils, IPv6": (
        *("iputils", "ping 2001:db8::3 -c 3", "ping -c 3 -i 1 -W 1 2001:db8::3"),
        *(f"{IPUTILS}/ping-six", 0),
    ),
    "busybox, answered": (
        *("busybox", "ping 192.0.2.3 -c 3 -W 0.5", "ping -c 3 -i 1 -W 1 192.0.2.3"),
        *(f"{BUSYBOX}/ping-plain", 0),
    ),
    "busybox, duplicates": (
        *("busybox", "ping 192.0.2.255 -c 2", "ping -c 2 -i 1 -W 1 192.0.2.255"),
        *(f"{BUSYBOX}/ping-duplicates", 0),
    ),
    "busybox, no answer": (
        *("busybox", "ping 192.0.2.66 -c 3", "ping -c 3 -i 1 -W 1 192.0.2.66"),
        *(f"{BUSYBOX}/ping-silent", 1),
    ),
    "busybox, IPv6": (
        *("busybox", "ping 2001:db8::3 -c 3", "ping -c 3 -i 1 -W 1 2001:db8::3"),
        *(f"{BUSYBOX}/ping-six", 0),
    ),
    "inetutils, answered": (
        *("inetutils", "ping 192.0.2.3 -c 3 -t 9", "ping -c 3 -i 1 -W 1 --ttl=9 192.0.2.3"),
        *(f"{INETUTILS}/ping-plain", 0),
    ),
    "inetutils, unreachable": (
        *("inetutils", "ping 192.0.2.77 -c 3 -W 3.5", "ping -c 3 -i 1 -W 4 192.0.2.77"),
        *(f"{INETUTILS}/ping-host-unreachable", 1),
    ),
    "inetutils, IPv6": (
        *("inetutils", "ping 2001:db8::3 -c 3", "ping6 -c 3 -i 1 -w 4 2001:db8::3"),
        *(f"{INETUTILS}/ping6-plain", 0),
    ),
}
"""Whose ping is installed, what is typed, what is executed, what that prints, and the exit code."""


@pytest.mark.long
@pytest.mark.parametrize(("by", "typed", "line", "capture", "code"), PINGS.values(), ids=PINGS)
def test_a_ping_is_asked_whose_it_is_and_shown(
    call: Callable[..., Called], recorder: Recorder, by: str, typed: str, line: str, capture: str, code: int
) -> None:
    printed = Answer(text(capture), exit_code=exit_code_of(capture))
    recorder.answer({"ping -V": VERSIONS["ping"][by], line: printed})
    report = ping.parse_ping(text(capture))
    assert (code == 0) == bool(report.received)
    assert call(*typed.split()) == (code, PING.table(report), "")
    assert executed(recorder) == ["ping -V", line]
    assert call(*typed.split(), "--json") == (code, PING.document(report), "")


PINGS_THAT_CANNOT: dict[str, tuple[str, str, str]] = {
    "iputils, no network": ("iputils", f"{IPUTILS}/ping-no-network", "ping failed with exit code 2"),
    "busybox, no network": (
        *("busybox", f"{BUSYBOX}/ping-no-network"),
        "ping failed: sendto: Network is unreachable",
    ),
    "inetutils, no network": (
        *("inetutils", f"{INETUTILS}/ping-no-network"),
        "ping failed: sending packet: Network is unreachable",
    ),
    "iputils, killed": ("iputils", f"{IPUTILS}/ping-killed", "ping died of SIGKILL"),
    "busybox, no such name": (
        *("busybox", f"{BUSYBOX}/ping-no-such-name"),
        "ping failed: bad address 'nosuch.example'",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("by", "capture", "message"), PINGS_THAT_CANNOT.values(), ids=PINGS_THAT_CANNOT)
def test_a_ping_that_cannot_send_is_an_error(
    call: Callable[..., Called], recorder: Recorder, by: str, capture: str, message: str
) -> None:
    line = "ping -c 1 -i 1 -W 1 192.0.2.3"
    # Complaints are on stderr, where they are no part of what was printed before.
    said = [one for one in text(capture).splitlines(keepends=True) if one.startswith("ping: ")]
    printed = "".join(one for one in text(capture).splitlines(keepends=True) if one not in said)
    answer = Answer(printed, "".join(said), exit_code_of(capture))
    recorder.answer({"ping -V": VERSIONS["ping"][by], line: answer})
    code, out, err = call("ping", "192.0.2.3", "-c", "1")
    assert (code, out) == (4, "")
    assert err.splitlines()[:2] == [f"error: {message}", f"  command: {line}"]
    code, out, _ = call("ping", "192.0.2.3", "-c", "1", "--json")
    document = json.loads(out)
    jsonschema_rs.validate(json.loads((REFERENCE / "error-v1.schema.json").read_text()), document)
    error = document["error"]
    assert (code, error["exit_code"], error["message"], error["command"]) == (4, 4, message, line)


def test_a_ping_that_ends_well_without_a_summary_is_an_error(
    call: Callable[..., Called], recorder: Recorder
) -> None:
    cut = text(f"{IPUTILS}/ping-killed")
    recorder.answer({"ping -c 2 -i 1 -W 1 192.0.2.3": Answer(cut, exit_code=0)})
    code, out, err = call("ping", "192.0.2.3", "-c", "2", "--by", "iputils")
    assert (code, out) == (4, "")
    assert err.startswith("error: ping failed: it ended early\n  command: ping -c 2 ")


CANNOT = {
    "inetutils from a link": (
        *(
            "ping 192.0.2.3 -I eth0",
            "inetutils",
            "the ping of inetutils cannot ping from a given interface or",
        ),
    ),
    "inetutils from an address": (
        *("ping 2001:db8::3 -I 2001:db8::1", "inetutils", "the ping of inetutils cannot ping from a given"),
    ),
    "busybox with a hop limit": (
        *("ping 2001:db8::3 -t 5", "busybox", "the ping of busybox cannot set the hop limit of IPv6"),
    ),
}


@pytest.mark.parametrize(("typed", "by", "says"), CANNOT.values(), ids=CANNOT)
def test_what_a_ping_cannot_do_is_one_line_and_exit_code_3(
    call: Callable[..., Called], recorder: Recorder, typed: str, by: str, says: str
) -> None:
    recorder.answer({"ping -V": VERSIONS["ping"][by]})
    for words in ([], ["--json"], ["--by", by], ["--by", by, "--dry-run"]):
        code, out, err = call(*typed.split(), *words)
        assert code == 3
        assert_one_line(err, says, "apt install iputils-ping")
        assert bool(out) == ("--json" in words)
        assert not out or says in json.loads(out)["error"]["message"]
    assert set(executed(recorder)) == {"ping -V"}


NOBODY_KNOWS = {
    "of somebody": (
        Answer("ping 1.0 of somebody\n"),
        "the output of ping -V was not understood at line 1: 'ping 1.0",
    ),
    "that says nothing": (Answer(), "the output of ping -V was not understood at line 1: ''"),
    "that fails": (Answer(stderr="ping: what?\n", exit_code=64), "ping failed with exit code 64"),
}


@pytest.mark.parametrize(("answer", "message"), NOBODY_KNOWS.values(), ids=NOBODY_KNOWS)
def test_a_ping_that_nobody_knows_is_an_error(
    call: Callable[..., Called], recorder: Recorder, answer: Answer, message: str
) -> None:
    recorder.answer({"ping -V": answer})
    code, out, err = call("ping", "192.0.2.3")
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {message}")
    assert executed(recorder) == ["ping -V"]


def test_a_ping_in_a_namespace_is_started_there(call: Callable[..., Called], recorder: Recorder) -> None:
    line = "ip netns exec lab ping -c 3 -i 1 -W 1 192.0.2.3"
    recorder.answer({"ping -V": VERSIONS["ping"]["iputils"], line: Answer(text(f"{IPUTILS}/ping-plain"))})
    assert call("ping", "192.0.2.3", "-c", "3", "-n", "lab")[0] == 0
    assert executed(recorder) == ["ping -V", line]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0.002, 3600), st.floats(0.01, 3600))
def test_the_times_are_written_as_every_ping_reads_them(
    call: Callable[..., Called], interval: float, wait: float
) -> None:
    [line] = commands_in(call("ping", "::1", "-i", str(interval), "-W", str(wait), "--dry-run")[1])
    _, _, _, _, shown_interval, _, shown_wait, _ = line.split()
    for shown, value in ((shown_interval, interval), (shown_wait, wait)):
        assert set(shown) <= set("0123456789."), "no ping understands an exponent"
        assert float(shown) == pytest.approx(value, rel=1e-5)


# --- arping ---------------------------------------------------------------------------------------------

ARPINGS: dict[str, tuple[str, str, str, str, int]] = {
    "iputils, answered": (
        *("iputils", "arping 192.0.2.129 -I eth0 -c 3", "arping -c 3 -w 4 -I eth0 192.0.2.129"),
        *(f"{IPUTILS}/arping-plain", 0),
    ),
    "iputils, by two": (
        *("iputils", "arping 192.0.2.97 -I eth0", "arping -c 2 -w 3 -I eth0 192.0.2.97"),
        *(f"{IPUTILS}/arping-two-hosts", 0),
    ),
    "iputils, no answer": (
        *("iputils", "arping 192.0.2.77 -I eth0", "arping -c 2 -w 3 -I eth0 192.0.2.77"),
        *(f"{IPUTILS}/arping-silent", 1),
    ),
    "iputils, in use": (
        *("iputils", "arping 192.0.2.145 -I eth0 -D", "arping -c 2 -w 3 -D -I eth0 192.0.2.145"),
        *(f"{IPUTILS}/arping-duplicate-in-use", 1),
    ),
    "iputils, free": (
        *("iputils", "arping 192.0.2.78 -I eth0 -D", "arping -c 2 -w 3 -D -I eth0 192.0.2.78"),
        *(f"{IPUTILS}/arping-duplicate-free", 0),
    ),
    "iputils, announced": (
        *("iputils", "arping 192.0.2.2 -I eth0 -U", "arping -c 2 -U -I eth0 192.0.2.2"),
        *(f"{IPUTILS}/arping-unsolicited", 0),
    ),
    "busybox, answered": (
        *("busybox", "arping 192.0.2.130 -I eth0 -c 3", "arping -c 3 -w 4 -I eth0 192.0.2.130"),
        *(f"{BUSYBOX}/arping-plain", 0),
    ),
    "busybox, no answer": (
        *("busybox", "arping 192.0.2.77 -I eth0", "arping -c 2 -w 3 -I eth0 192.0.2.77"),
        *(f"{BUSYBOX}/arping-silent", 1),
    ),
    "busybox, in use": (
        *("busybox", "arping 192.0.2.146 -I eth0 -D", "arping -c 2 -w 3 -D -I eth0 192.0.2.146"),
        *(f"{BUSYBOX}/arping-duplicate-in-use", 1),
    ),
    "busybox, free": (
        *("busybox", "arping 192.0.2.78 -I eth0 -D", "arping -c 2 -w 3 -D -I eth0 192.0.2.78"),
        *(f"{BUSYBOX}/arping-duplicate-free", 0),
    ),
    "busybox, announced": (
        *("busybox", "arping 192.0.2.2 -I eth0 -U", "arping -c 2 -U -I eth0 192.0.2.2"),
        *(f"{BUSYBOX}/arping-unsolicited", 0),
    ),
    "habets, answered": (
        *("habets", "arping 192.0.2.159 -I eth0 -c 3", "arping -c 3 -w 4 -i eth0 192.0.2.159"),
        *(f"{HABETS}/arping-plain", 0),
    ),
    "habets, no answer": (
        *("habets", "arping 192.0.2.77 -I eth0", "arping -c 2 -w 3 -i eth0 192.0.2.77"),
        *(f"{HABETS}/arping-silent", 1),
    ),
    "habets, in use": (
        *("habets", "arping 192.0.2.176 -I eth0 -D", "arping -c 2 -w 3 -0 -i eth0 192.0.2.176"),
        *(f"{HABETS}/arping-source-zero", 1),
    ),
    "habets, free": (
        *("habets", "arping 192.0.2.77 -I eth0 -D", "arping -c 2 -w 3 -0 -i eth0 192.0.2.77"),
        *(f"{HABETS}/arping-silent", 0),
    ),
    "habets, announced": (
        *("habets", "arping 192.0.2.2 -I eth0 -U", "arping -c 2 -U -i eth0 -S 192.0.2.2 192.0.2.2"),
        *(f"{HABETS}/arping-unsolicited", 0),
    ),
}
"""Whose arping is installed, what is typed, what is executed, what that prints, and the exit code."""


@pytest.mark.long
@pytest.mark.parametrize(("by", "typed", "line", "capture", "code"), ARPINGS.values(), ids=ARPINGS)
def test_an_arping_is_asked_whose_it_is_and_shown(
    call: Callable[..., Called], recorder: Recorder, by: str, typed: str, line: str, capture: str, code: int
) -> None:
    printed = Answer(text(capture), exit_code=exit_code_of(capture))
    recorder.answer({"arping -V": VERSIONS["arping"][by], line: printed})
    report = arping.parse_arping(text(capture))
    assert call(*typed.split()) == (code, ARPING.table(report), "")
    assert executed(recorder) == ["arping -V", line]
    assert call(*typed.split(), "--json") == (code, ARPING.document(report), "")


LINK_DOWN = "libnet_init(LIBNET_LINK, down0): libnet_check_iface(): down0 is down"

ARPINGS_THAT_CANNOT: dict[str, tuple[str, list[str], str, str]] = {
    "iputils, no network": (
        *("iputils", [], f"{IPUTILS}/arping-no-network"),
        "arping failed: NETLINK_ROUTE unexpected iov element",
    ),
    "iputils, a link that is down": (
        *("iputils", ["-D"], f"{IPUTILS}/arping-device-down"),
        "arping failed with exit code 2",
    ),
    "iputils, to announce what is not one's own": (
        *("iputils", ["-U"], f"{IPUTILS}/arping-unsolicited-foreign"),
        "arping failed with exit code 2",
    ),
    "busybox, no such link": (
        *("busybox", [], f"{BUSYBOX}/arping-no-such-device"),
        "arping failed with exit code 2",
    ),
    "habets, to ask on a link that is down": (
        *("habets", [], f"{HABETS}/arping-device-down"),
        f"arping failed: {LINK_DOWN}",
    ),
    "habets, to announce on a link that is down": (
        *("habets", ["-U"], f"{HABETS}/arping-device-down"),
        f"arping failed: {LINK_DOWN}",
    ),
    "habets, to find a duplicate on a link that is down": (
        *("habets", ["-D"], f"{HABETS}/arping-device-down"),
        f"arping failed: {LINK_DOWN}",
    ),
    "habets, it crashed": ("habets", [], f"{HABETS}/arping-no-network", "arping died of SIGSEGV"),
}


@pytest.mark.parametrize(
    ("by", "act", "capture", "message"), ARPINGS_THAT_CANNOT.values(), ids=ARPINGS_THAT_CANNOT
)
def test_an_arping_that_cannot_send_is_an_error(
    call: Callable[..., Called], recorder: Recorder, by: str, act: list[str], capture: str, message: str
) -> None:
    words = ["arping", "192.0.2.3", "-I", "eth0", *act]
    [line] = commands_in(call(*words, "--by", by, "--dry-run")[1])
    answer = Answer(stderr=text(capture), exit_code=exit_code_of(capture))
    recorder.answer({"arping -V": VERSIONS["arping"][by], line: answer})
    code, out, err = call(*words)
    assert (code, out) == (4, "")
    assert err.splitlines()[:2] == [f"error: {message}", f"  command: {line}"]


# --- signals --------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("number", one_by_default(*ENDING))
@pytest.mark.parametrize("asked", [False, True], ids=["while it pings", "while it is asked for its version"])
def test_a_signal_ends_the_ping_with_ipvkit(recorder: Recorder, number: signal.Signals, asked: bool) -> None:
    waits = "'ping -V'" if asked else "'ping -c '*"
    # The process that wrote the mark becomes one that has to be ended.
    recorder.answer(
        {"ping -V": VERSIONS["ping"]["iputils"]},
        before_the_end=f"case $line in {waits}) exec sleep 60 ;; esac",
    )
    process = subprocess.Popen(
        [*IPVKIT, "ping", "192.0.2.3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: len(executed(recorder)) == (1 if asked else 2))
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (130, "")
    assert_one_line(err, f"interrupted by {number.name}", "the command was killed")
    pid = [mark.pid for mark in recorder.log()][-1]
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_with_json_an_interrupt_is_a_document(recorder: Recorder) -> None:
    recorder.answer({}, before_the_end="exec sleep 60")
    with subprocess.Popen(
        [*IPVKIT, "netns", "add", "test1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: executed(recorder))
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 130
    error = json.loads(out)["error"]
    assert (error["message"], error["exit_code"]) == ("interrupted by SIGINT", 130)
