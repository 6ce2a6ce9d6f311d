"""``ipvkit doctor``."""

from ipvkit.cli import emit
from ipvkit.cli.options import Json
from ipvkit.doctor import examine
from ipvkit.report.doctor import render_json, render_table


def doctor(json_: Json = False) -> int:
    """A sandbox and a uml kernel are started and ended. Exit code: 0 labs run here, 3 they do not."""
    health = examine()
    emit(render_json(health) if json_ else render_table(health))
    return 0 if health.works else 3
