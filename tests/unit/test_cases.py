"""A test of many cases tries each one, and fails with those that do."""

import inspect

import pytest

from cases import for_each


def test_every_case_is_tried_and_those_that_fail_are_named() -> None:
    tried = []

    @for_each("digit", [1, 2])
    @for_each(("letter", "other"), ["ab", "cd"])
    def test(letter: str, other: str, digit: int, fixture: str) -> None:
        tried.append(f"{letter}{other}{digit}{fixture}")
        with pytest.raises(ValueError, match="c"):
            int(letter, 10 + digit)

    assert list(inspect.signature(test).parameters) == ["fixture"]
    with pytest.raises(pytest.fail.Exception) as problem:
        test(fixture="!")
    assert tried == ["ab1!", "cd1!", "ab2!", "cd2!"]
    # A digit has failed if a letter has with it; to base 11 and 12 only `a` is a number.
    assert problem.value.__notes__ == [
        "1 of 2 cases fail:\n{'letter': 'a', 'other': 'b'}",
        "2 of 2 cases fail:\n{'digit': 1}\n{'digit': 2}",
    ]


def test_a_test_of_no_case_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no case"):
        for_each("x", [])
