"""What a session's script prints comes through whole, however it is cut into chunks."""

import re
import string
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ipvkit.verbs.shell import Printed

NONCE = "0123456789abcdef" * 2
BEGIN = f"\x1e{NONCE} begin\n".encode()
LOOK_ALIKES = (
    BEGIN[:-1],
    BEGIN[:20],
    b"\x1e",
    b"\x1e" + b"0" * 32 + b" 0\n",
    f"\x1e{NONCE} \n".encode(),
    f"\x1e{NONCE} 1".encode(),
    f"{NONCE} 1\n".encode(),
)

outputs = (
    st.lists(st.sampled_from(LOOK_ALIKES) | st.binary(max_size=40))
    .map(b"".join)
    .filter(lambda output: not re.search(rf"\x1e{NONCE} (begin|\d+)\n".encode(), output))
)
"""Bytes without a mark, which no script can print: it does not know the nonce."""


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


@given(outputs, st.integers(0, 255), outputs, st.lists(st.integers(0)))
def test_a_script_that_ends(output: bytes, code: int, late: bytes, places: list[int]) -> None:
    seen: list[bytes] = []
    printed = Printed(NONCE, seen.append)
    for chunk in cut(BEGIN + output + f"\x1e{NONCE} {code}\n".encode() + late, places):
        printed.add(chunk)
    printed.end()
    assert printed.began
    assert (b"".join(seen), printed.exit_code) == (output, code)


@given(outputs, st.lists(st.integers(0)))
def test_a_script_that_does_not_end(output: bytes, places: list[int]) -> None:
    seen: list[bytes] = []
    printed = Printed(NONCE, seen.append)
    for chunk in cut(BEGIN + output, places):
        printed.add(chunk)
    printed.end()
    assert (b"".join(seen), printed.exit_code) == (output, None)


@given(st.text(string.printable).map(str.encode), st.lists(st.integers(0)))
def test_text_is_passed_on_at_once(output: bytes, places: list[int]) -> None:
    seen: list[bytes] = []
    printed = Printed(NONCE, seen.append)
    printed.add(BEGIN)
    for chunk in cut(output, places):
        printed.add(chunk)
        assert seen[-1] == chunk


def test_a_target_that_ends_before_the_script_begins() -> None:
    seen: list[bytes] = []
    printed = Printed(NONCE, seen.append)
    printed.add(b"noise" + BEGIN[:-1])
    printed.end()
    assert (printed.began, printed.exit_code, b"".join(seen)) == (False, None, b"noise" + BEGIN[:-1])
