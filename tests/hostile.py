"""Text, values and lab files that somebody hostile could write, and what is right in between."""

import os
from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from ipvkit.lab import Lab, gallery
from ipvkit.lab.format import dump
from strategies import (
    HOSTILE_ADDRESSES,
    HOSTILE_NAMES,
    HOSTILE_PREFIXES,
    addresses,
    interface_addresses,
    interface_names,
    ipv6_addresses,
    labs,
    mutated_text,
)

CANARY = "pwned"
"""What hostile text tries to start, to write or to have as an option."""

_SHELL = (
    *"$(X) `X` ;X |X &X& &&X >X >>X <(X) ';X;' \";X;\" ${x:-$(X)} a[$(X)] x[0$(X)] {X,} * ~ !X".split(),
    *"\\ ' \" # %s%n {0} $X ${X} @X =X".split(),
    *(
        "\nX\n",
        "\rX",
        "\\\nX",
        "\0X",
        "X\tX",
        "\x1b]0;X\a",
        "\x85X",
        "\u2028X",
        "\u2029X",
        "\u202eX",
        "\ufeffX",
    ),
    *("\ud800", "\udcff"),
)
_OPTIONS = (
    "-X -- - -batch -force --help -h -c -f -I -n -all -V --version --X=1 -p +x "
    "/X ./X ../X ../../etc/passwd /etc/passwd // . .. ~root /dev/stdin"
).split()
_PIECES = [piece.replace("X", CANARY) for piece in (*_SHELL, *_OPTIONS)]
_NAMES = (
    *"if1 if2 if2abc if+4 if-1 if 1 0x1 01 lo all default dev up type eth0 test1 test2 host gateway".split(),
    *"neighbour far switch lan shim br-lan veth0 localhost 0x7f.1 1.2 1e3".split(),
    *("a" * 15, "a" * 16, "a" * 256, "a" * 5000),
)
_AMOUNTS = (
    *"0 -0 -1 +1 1e9 1e999 nan inf -inf 0x10 1_0 1.5 .5 true null 3s 500ms".split(),
    *("9" * 20, "9" * 5000),
    *("\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT TWO}", "\N{FULLWIDTH DIGIT ONE}"),
)
_KNOWN = (*_PIECES, *_NAMES, *_AMOUNTS, *HOSTILE_NAMES, *HOSTILE_ADDRESSES, *HOSTILE_PREFIXES)
_PLAIN = ("", *"a eth0 192.0.2.1 192.0.2.1/24 2001:db8::1 fe80::1% 1 test1".split())


@cache
def hostile_texts() -> st.SearchStrategy[str]:
    """Text of every kind that could be taken for more than a name, an address or a number."""
    plain, known = st.sampled_from(_PLAIN), st.sampled_from(_KNOWN)
    around = st.builds(lambda a, b, c: a + b + c, plain, st.sampled_from(_PIECES) | st.characters(), plain)
    joined = st.lists(known, min_size=2, max_size=3).map("".join)
    right = st.one_of(
        interface_names(), addresses().map(str), interface_addresses().map(str), ipv6_addresses().map(str)
    )
    return st.one_of(known, around, joined, right, st.text(max_size=30))


@cache
def hostile_words() -> st.SearchStrategy[str]:
    """Hostile text that a process can be given as a word: bytes, none of them NUL, as Python has them."""

    def can_be_one(text: str) -> bool:
        try:
            return "\0" not in text and os.fsdecode(os.fsencode(text)) == text
        except UnicodeEncodeError:
            return False

    given = st.binary(max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
    return hostile_texts().filter(can_be_one) | given


@cache
def hostile_values() -> st.SearchStrategy[Any]:
    """What YAML can have where a text, a number or a list is meant."""
    single = st.one_of(
        hostile_texts(),
        st.sampled_from(
            (None, True, False, 0, -1, 10**30, float("nan"), float("inf"), 1.5, date(2026, 1, 1), b"x")
        ),
    )
    return st.recursive(
        single,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_texts(), inner, max_size=2),
        max_leaves=4,
    )


_YAML = (
    *(
        "&a ",
        "*a",
        "<<: *a",
        "? ",
        ": ",
        "|\n",
        ">\n",
        "- ",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "  ",
        "\n",
        "\r",
        "\t",
    ),
    *(
        "!!python/object/apply:os.system [pwned]",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!!null x",
        "!<x> ",
    ),
    *("\ufeff", "\x85", "\u2028", "$(pwned)", "';pwned;'"),
    *"{ } [ ] , # @ ` \\ ' \"".split(),
)
_ONE_IN_FOUR = st.sampled_from((True, False, False, False))


@cache
def _small_labs() -> st.SearchStrategy[Lab]:
    return labs(most_endpoints=2, most_phases=2)


@st.composite
def hostile_lab_files(draw: st.DrawFn) -> str:
    """Lab files of which a few places, one of them at least, are not as a person would write them."""
    document = yaml.safe_load(gallery.text(draw(st.sampled_from(gallery.names()))))
    if draw(_ONE_IN_FOUR):
        document = yaml.safe_load(dump(draw(_small_labs())))
    if draw(_ONE_IN_FOUR):
        return draw(mutated_text(yaml.safe_dump(document, sort_keys=False), _YAML))
    for _ in range(draw(st.integers(1, 2))):
        _spoil(draw, document)
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=draw(st.booleans())))


_WAYS_TO_SPOIL = st.sampled_from(("value", "value", "value", "text", "text", "key", "away", "twice"))


def _spoil(draw: st.DrawFn, document: Any) -> None:
    """Change one place of a document: its value, its key, or that it is there once."""
    places = list(_places(document))
    inside, key = places[draw(st.integers(0, len(places) - 1))]
    match draw(_WAYS_TO_SPOIL):
        case "value":
            inside[key] = draw(hostile_values())
        case "text":
            inside[key] = draw(hostile_texts())
        case "key" if isinstance(inside, dict):
            inside[draw(hostile_texts())] = inside.pop(key)
        case "twice" if isinstance(inside, list):
            # The same object, which is written as an anchor and an alias.
            inside.append(inside[key])
        case _:
            del inside[key]


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each value's place: what it is in, and its key or position there."""
    if not isinstance(document, dict | list):
        return
    for key, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
        yield document, key
        yield from _places(value)
