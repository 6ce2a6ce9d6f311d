"""Cases of a test: many cheap ones, which pytest takes longer to report than to try, and few dear ones."""

import inspect
import reprlib
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest

Test = Callable[..., None]


def for_each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test with each case, as `parametrize` does, all in one test; those of two are combined.

    All cases are tried. What is raised is the first that fails, with a note that names each that does.
    """
    of_one = isinstance(names, str)
    arguments = (names,) if isinstance(names, str) else tuple(names)
    known = [dict(zip(arguments, (case,) if of_one else case, strict=True)) for case in cases]
    assert known, f"no case of {arguments}"

    def decorate(test: Test) -> Test:
        @wraps(test)
        def tried(**others: Any) -> None:
            failed: list[tuple[dict[str, Any], BaseException]] = []
            for case in known:
                try:
                    test(**case, **others)
                except (Exception, pytest.fail.Exception) as problem:
                    failed.append((case, problem))
            if failed:
                named = "\n".join(reprlib.repr(case) for case, _ in failed[:20])
                failed[0][1].add_note(f"{len(failed)} of {len(known)} cases fail:\n{named}")
                raise failed[0][1]

        signature = inspect.signature(test)
        rest = [each for name, each in signature.parameters.items() if name not in arguments]
        tried.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return tried

    return decorate


def one_by_default(first: Any, *others: Any) -> list[Any]:
    """Return cases for `parametrize` of which only the first runs without --all."""
    extra = (case if isinstance(case, tuple) else (case,) for case in others)
    return [first, *(pytest.param(*values, marks=pytest.mark.extra) for values in extra)]
