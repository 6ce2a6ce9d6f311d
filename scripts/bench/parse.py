"""Parse the same pings with ipvkit, jc and pingparsing: how fast each is, and how often it is right."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import jc
from pingparsing import PingParsing
from tabulate import tabulate

from ipvkit.tools.ping import parse_ping

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"
SHORT = FIXTURES / "iputils-20240905" / "ping-plain.txt"
MEGA = 1_000_000

HEADER = "PING 192.0.2.3 (192.0.2.3) 56(84) bytes of data.\n"
ENDING = """
--- 192.0.2.3 ping statistics ---
{n} packets transmitted, {n} received, 0% packet loss, time {n}ms
rtt min/avg/max/mdev = 0.020/0.060/0.999/0.010 ms
"""

Counts = tuple[int | None, int | None, int]
"""What is compared: transmitted, received (None: not said), and the number of reply lines."""


def replies(size: int) -> str:
    """Return a ping log of about `size` bytes."""
    line = "64 bytes from 192.0.2.3: icmp_seq={} ttl=64 time=0.{:03} ms\n"
    count = size // 57
    lines = "".join(line.format(i % 65536, i % 1000) for i in range(1, count + 1))
    return HEADER + lines + ENDING.format(n=count)


def mixed(size: int) -> str:
    """Return a log with timestamps in which every other request has no reply."""
    stamp = "[1764000000.123456] "
    pair = (
        f"{stamp}64 bytes from 192.0.2.3: icmp_seq=1 ttl=64 time=0.391 ms\n"
        f"{stamp}no answer yet for icmp_seq=2\nFrom 192.0.2.2 icmp_seq=3 Destination Host Unreachable\n"
    )
    count = size // len(pair)
    return HEADER + pair * count + ENDING.format(n=count)


def almost(size: int) -> str:
    """Return lines that are nearly replies: what a careless regular expression tries again and again."""
    line = "64 bytes from 192.0.2.3: icmp_seq=1 ttl=64 time=0.391" + " m" * 40 + "\n"
    return HEADER + line * (size // len(line)) + ENDING.format(n=1)


def one_line(size: int) -> str:
    """Return one endless line of digits and blanks after the beginning of a reply."""
    return f"{HEADER}64 bytes from {'1 ' * (size // 2)}\n{ENDING.format(n=1)}"


def seconds(call: Callable[[], object], rounds: int) -> list[float]:
    """Return how long each call took."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return took


def by_ipvkit(text: str) -> Counts:
    """Return what ipvkit makes of `text`."""
    report = parse_ping(text)
    return report.transmitted, report.received, len(report.replies)


def by_jc(text: str) -> Counts:
    """Return what jc makes of `text`."""
    found: Any = jc.parse("ping", text, quiet=True)
    answers = [r for r in found.get("responses", []) if r.get("type") == "reply"]
    return found.get("packets_transmitted"), found.get("packets_received"), len(answers)


def by_pingparsing(text: str) -> Counts:
    """Return what pingparsing makes of `text`."""
    found = PingParsing().parse(text)
    return found.packet_transmit, found.packet_receive, len(found.icmp_replies)


PARSERS = {"ipvkit": by_ipvkit, "jc": by_jc, "pingparsing": by_pingparsing}


def compare_rates(megabytes: int, form: str) -> None:
    """Print the rates on a long log, and the times for a short output, as a table of that form."""
    long, short = replies(megabytes * MEGA), SHORT.read_text()
    long_took: dict[str, list[float]] = {name: [] for name in PARSERS}
    short_took: dict[str, list[float]] = {name: [] for name in PARSERS}
    for _ in range(3):
        for name, parse in PARSERS.items():
            long_took[name] += [s * MEGA / len(long) for s in seconds(lambda p=parse: p(long), 1)]
            short_took[name] += seconds(lambda p=parse: p(short), 20 if name == "pingparsing" else 500)
    rows = [
        [
            name,
            1 / median(long_took[name]),
            median(short_took[name]) * 1e6,
            *ratios(name, long_took, short_took),
        ]
        for name in PARSERS
    ]
    print(f"A log of {megabytes} MB, and an output of {len(short.splitlines())} lines; medians.\n")
    header = ("", "MB/s", "us", "long: times ipvkit's", "short: times ipvkit's")
    print(tabulate(rows, header, tablefmt=form, floatfmt=".2f"))


def ratios(name: str, *took: dict[str, list[float]]) -> Iterator[float]:
    """Return how much longer `name` took than ipvkit."""
    for each in took:
        yield median(each[name]) / median(each["ipvkit"])


LOGS = {
    "replies": replies,
    "replies, errors, no answers": mixed,
    "lines that are almost replies": almost,
    "one endless line": one_line,
}


def show_linear(megabytes: int) -> None:
    """Print ipvkit's rate on a log, and on one of ten times that size: it stays the same."""
    rows = []
    for name, make in LOGS.items():
        rates = []
        for size in (megabytes * MEGA // 10, megabytes * MEGA):
            text = make(size)
            rates.append(len(text) / MEGA / median(seconds(lambda t=text: parse_ping(t), 3)))
        rows.append([name, *rates, rates[1] / rates[0]])
    sizes = (f"MB/s at {megabytes / 10:g} MB", f"MB/s at {megabytes} MB")
    print(tabulate(rows, ("ipvkit on", *sizes, "ratio"), floatfmt=".2f"))


def compare_answers() -> None:
    """Print how often each gives the counts that a person reads in a capture, and where not."""
    captures = [
        path for path in sorted(FIXTURES.glob("*/ping*.json")) if "unparsable" not in path.read_text()
    ]
    wrong: dict[str, list[str]] = {name: [] for name in PARSERS}
    refused = dict.fromkeys(PARSERS, 0)
    for path in captures:
        expected = json.loads(path.read_text())
        right = (expected.get("transmitted"), expected.get("received"), len(expected.get("replies", ())))
        for name, parse in PARSERS.items():
            found: Counts | None = None
            with suppress(Exception):
                found = parse(path.with_suffix(".txt").read_text())
            if found is None or (found == (None, None, 0) != right):
                refused[name] += 1
            elif found != right:
                wrong[name].append(f"{path.parent.name}/{path.stem}: {found}, right is {right}")
    rows = [
        [name, len(captures) - refused[name] - len(wrong[name]), refused[name], len(wrong[name])]
        for name in PARSERS
    ]
    print(f"{len(captures)} captures with values written by hand: transmitted, received, replies")
    print(tabulate(rows, ("", "right", "refused or nothing", "wrong")))
    for name, lines in wrong.items():
        for line in lines:
            print(f"  {name} on {line}")


def main() -> None:
    """Print it all, or with --markdown the rates alone, as a Markdown table."""
    if sys.argv[1:2] == ["--markdown"]:
        compare_rates(int(sys.argv[2]), "github")
        return
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"jc {version('jc')}, pingparsing {version('pingparsing')}, Python {sys.version.split()[0]}\n")
    compare_rates(megabytes, "simple")
    print()
    show_linear(megabytes)
    print()
    compare_answers()


main()
