"""Whether the names of the endpoints are free."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Finding, Machine, Request, some

_RENAME = "choose another name"


def taken(request: Request, machine: Machine) -> Iterator[Finding]:
    """Yield the names of endpoints and links that are taken."""
    for endpoint in request.endpoints:
        if endpoint.netns in machine.namespaces:
            what = f"network namespace {endpoint.netns} already exists"
            if pids := machine.namespaces[endpoint.netns]:
                what += f", with {'process' if len(pids) == 1 else 'processes'} {some(map(str, pids))} in it"
            yield Finding("netns-taken", "error", what, _RENAME)
    # ip finds a link by its alternative names too, and the kernel gives no other link one of them.
    there = {name for link in machine.links for name in (link.ifname, *link.altnames)}
    for name in dict.fromkeys([*(endpoint.name for endpoint in request.endpoints), *request.links]):
        if name in there:
            yield Finding("name-taken", "error", f"link {name} already exists", _RENAME)
