"""The result of `ipvkit doctor`, as tables and as one JSON document, ``ipvkit/doctor/v1``."""

from ipvkit.host.checks import Findings
from ipvkit.host.doctor import Health
from ipvkit.report import kernels
from ipvkit.report.plain import chosen, document, fitted, plain


def render_table(health: Health, found: Findings | None = None, width: int | None = None) -> str:
    """Return the tables of targets, tools and a parent, and how to install what is missing.

    They fit a terminal of that `width`, as far as they can.
    """
    targets = [[t.kind, "works" if t.works else "no", t.kernel, t.reason, t.hint] for t in health.targets]
    tools = [[t.name, t.version or "not installed", t.path, t.package] for t in health.tools]
    parts = [fitted(targets, ("target", "works", "kernel", "why not", "what to do"), width), ""]
    parts += [fitted(tools, ("tool", "version", "path", "Debian package"), width), ""]
    if health.kernels:
        parts += [kernels.table(health.kernels, width=width), ""]
    if health.fix:
        parts += [f"to install what is missing: {health.fix}"]
    parts += ["labs run here" if health.works else "labs do not run here"]
    if found is not None and found.findings:
        rows = [[one.what, one.severity, one.fix] for one in found.findings]
        parts += ["", fitted(rows, (f"finding about {found.parent}", "severity", "fix"), width)]
    elif found is not None:
        parts += ["", f"{found.parent}: no problems found"]
    return "\n".join(parts) + "\n"


def render_json(health: Health, found: Findings | None = None) -> str:
    """Return the document of `health` and of a parent."""
    problems = found.findings if found else ()
    findings = [{**chosen(one, "code severity what"), "mend": one.fix} for one in problems]
    return document(
        "doctor",
        works=health.works,
        targets=plain(health.targets),
        tools=plain(health.tools),
        kernels=[kernels.fields(kernel) for kernel in health.kernels],
        mend=health.fix or None,
        parent=None if found is None else {"dev": found.parent, "findings": findings},
    )
