"""The gallery: labs that come with ipvkit, as YAML files beside this one."""

from pathlib import Path

from ipvkit.core.errors import UsageError

WALKTHROUGH = "walkthrough"

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Return the names of the labs in the gallery, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def text(name: str) -> str:
    """Return the YAML of the lab called `name`; raise UsageError where there is none."""
    if name not in names():
        hint = f"the gallery has {', '.join(names())}; name a file by its path, {f'./{name}.yaml'!r}"
        raise UsageError(f"there is no lab called {name!r}", hint)
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
