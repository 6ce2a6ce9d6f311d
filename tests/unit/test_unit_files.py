"""Unit files: sections and keys that repeat, in their order, each with its file and line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import hostile_texts
from ipvkit.core.errors import InvalidLab
from ipvkit.formats.units import every, last, sections
from ipvkit.lab.fields import MOST_CHARACTERS, Source


def listed(text: str, between: str = " ") -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """Return the sections of `text` with their lines, and their keys with lines and values."""
    return [
        (each.name, each.place, [(key.place, key.name, key.text()) for key in each.keys])
        for each in sections(Source("f", text), between)
    ]


def test_sections_and_keys_repeat_and_keep_their_order_and_lines() -> None:
    text = "#\n[Match]\nName=eth0\n\n[Route]\nGateway = 10.0.0.1\n[Route]\n\tGateway=fd00::1 \r\nGateway=\n"
    assert listed(text) == [
        ("Match", "f:2", [("f:3", "Name", "eth0")]),
        ("Route", "f:5", [("f:6", "Gateway", "10.0.0.1")]),
        ("Route", "f:7", [("f:8", "Gateway", "fd00::1"), ("f:9", "Gateway", "")]),
    ]


def test_keys_keep_their_case_and_values_what_follows_the_first_equals_sign() -> None:
    text = "[Network]\nOptions=parent=eth0 # mode=l2\noptions=x;y\n"
    assert listed(text) == [
        ("Network", "f:1", [("f:2", "Options", "parent=eth0 # mode=l2"), ("f:3", "options", "x;y")])
    ]


@pytest.mark.parametrize(
    ("between", "expected"),
    [(" ", "parent=eth0  mode=l3  mtu=1400"), ("", "parent=eth0 mode=l3 mtu=1400")],
    ids=["systemd", "podman"],
)
def test_a_line_that_ends_with_a_backslash_goes_on(between: str, expected: str) -> None:
    text = "[Network]\nOptions=parent=eth0 \\\n# no part\n   mode=l3 \\\n ; nor this\n mtu=1400\nX=1\n"
    assert listed(text, between) == [("Network", "f:1", [("f:2", "Options", expected), ("f:7", "X", "1")])]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("[A]\nX=a\\\\\nY=b", [("f:2", "X", "a\\\\"), ("f:3", "Y", "b")]),
        ("[A]\nX=a\\\n\nY=b", [("f:2", "X", "a"), ("f:4", "Y", "b")]),
        ("[A]\nX=a\\", [("f:2", "X", "a")]),
        ("[A]\n#X=a\\\nY=b", [("f:3", "Y", "b")]),
    ],
    ids=["an escaped one does not", "an empty line ends it", "so does the file", "a comment does not go on"],
)
def test_where_a_line_ends(text: str, keys: list[tuple[str, str, str]]) -> None:
    assert listed(text) == [("A", "f:1", keys)]


def test_an_empty_value_deletes_those_before_it() -> None:
    text = "[A]\nX=1\nX=2\n[B]\nX=3\n[A]\nX=\nX=4\nX=5\nY=6\nY=\n"
    of_a = [section for section in sections(Source("f", text)) if section.name == "A"]
    assert [field.text() for field in every(of_a, "X")] == ["4", "5"]
    found = last(of_a, "X")
    assert found is not None
    assert (found.place, found.text()) == ("f:9", "5")
    assert last(of_a, "Y") is None
    assert last(of_a, "Z") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[A]\nX=1\nhello\n", "f:3: neither `[Section]` nor `Key=value`"),
        ("[A]\n=1\n", "f:2: neither `[Section]` nor `Key=value`"),
        ("[A\n", "f:1: neither `[Section]` nor `Key=value`"),
        ("\nX=1\n[A]\n", "f:2: a key before any section"),
        ("#" * (MOST_CHARACTERS + 1), f"f: the file has {MOST_CHARACTERS + 1} characters"),
    ],
)
def test_what_is_no_unit_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        sections(Source("f", text))
    assert caught.value.message == message
    assert caught.value.hint


@given(text=hostile_texts(), file=hostile_texts())
def test_messages_are_one_line(text: str, file: str) -> None:
    said = []
    try:
        said += [section.place for section in sections(Source(file, f"[A]\n{text}"))]
    except InvalidLab as problem:
        said.append(problem.message)
    assert all(each.isprintable() for each in said)


_WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1)


@given(pairs=st.lists(st.tuples(_WORDS, _WORDS)), file=_WORDS)
def test_what_is_written_is_read(pairs: list[tuple[str, str]], file: str) -> None:
    text = "".join(f"{key}={value}\n" for key, value in pairs)
    (section,) = sections(Source(file, f"[A]\n{text}"))
    assert [(field.place, field.name, field.text()) for field in section.keys] == [
        (f"{file}:{number}", *pair) for number, pair in enumerate(pairs, 2)
    ]
