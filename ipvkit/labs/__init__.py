"""The gallery: labs that come with ipvkit, as YAML files beside this one."""

from importlib import resources

from ipvkit.errors import UsageError

WALKTHROUGH = "walkthrough"


def names() -> tuple[str, ...]:
    """Return the names of the labs in the gallery, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


def schema() -> str:
    """Return the JSON Schema of lab files, for editors."""
    return resources.files(__name__).joinpath("lab.schema.json").read_text(encoding="utf-8")


def text(name: str) -> str:
    """Return the YAML of the lab called `name`; raise UsageError where there is none."""
    if name not in names():
        path = f"./{name}.yaml"
        raise UsageError(
            f"there is no lab called {name!r}",
            f"the gallery has {', '.join(names())}; a file of your own is named by its path, {path!r}",
        )
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
