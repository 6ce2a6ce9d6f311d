"""What the formats of other tools can say, as a Markdown table for docs/reference/formats.md."""

from ipvkit.formats import FORMATS
from ipvkit.formats.base import Format, Limits
from ipvkit.report.plain import grid

_HEADER = "format|modes|flags|MTU|routes|addresses of a family|VLAN parent|links are in|after a reboot"
_ROUTES = {"any": "any", "via": "via a gateway", "default": "a default route"}
_PLACES = {"endpoints": "the namespaces of endpoints", "host": "the host's own namespace"}


def limits() -> str:
    """Return the table of what each format can say."""
    return grid(map(_row, FORMATS), _HEADER.split("|"), tablefmt="github")


def _row(form: Format) -> list[str]:
    own = form.limits
    return [
        f"`{form.name}`",
        " ".join(own.modes),
        " ".join(own.flags),
        *(_of_endpoints(own) if own.place == "endpoints" else "---"),
        "created" if own.vlan else "created before",
        _PLACES[own.place],
        "there again" if own.persistent else "gone",
    ]


def _of_endpoints(own: Limits) -> list[str]:
    return ["yes" if own.mtu else "no", _ROUTES[own.routes], "several" if own.several else "one"]
