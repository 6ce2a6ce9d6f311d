"""What is built step by step and what is built in batches is the same on the kernel."""

import json
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from guest import in_guest
from ipvkit.lab import Lab, Setting, Setup, gallery
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.tools import ip
from namespaces import AS_ROOT
from requires import requires
from strategies import labs

# Everything in namespaces that end with it: names are those of any lab.
APART = "unshare --net --mount bash <<'LAB'\nmount -t tmpfs tmpfs /run\nip link set lo up\n{}LAB\n"

LOOKS = ("addr show", "route show table all", "neigh show proxy", "neigh show nud permanent", "rule show")
SHOW = """\
for netns in '' $(ip netns list | cut -d' ' -f1); do
  printf '%s\\t' "$netns"
  printf '%s\\n' LOOKS | ip ${netns:+-n "$netns"} -json -details -batch - | tr -d '\\n'
  echo
done
""".replace("LOOKS", shlex.join(LOOKS))

SETUPS: tuple[Setup, ...] = ("stepwise", "batch")


def built(lab: Lab, setup: Setup) -> str:
    """Return bash that builds the first phase of `lab`, as `setup` says, and shows what there is then."""
    first = replace(lab.phases[0], acts=())
    plan = make_plan(replace(lab, phases=(first,), setup=setup))
    commands = (f"{{ {step.command}\n}} >/dev/null || echo failed: {step.id}\n" for step in plan.steps)
    return APART.format("".join(commands) + SHOW)


def shown(text: str) -> dict[tuple[str, str], Any]:
    """Return what there is, by its namespace, without what nobody has set: numbers, MAC addresses, states."""
    found: dict[tuple[str, str], Any] = {}
    for line in text.splitlines():
        netns, said = line.split("\t")
        for what, listed in zip(LOOKS, ip.lists_in(said, at_most=len(LOOKS)), strict=True):
            entries = json.loads(listed)
            if what == "addr show":
                found[netns, what] = sorted(map(_link, ip.parse_addresses(listed)))
            elif "route" in what:
                routes = [r for r in entries if r.get("protocol") not in ("kernel", "ra")]
                found[netns, what] = sorted(json.dumps(r, sort_keys=True) for r in routes)
            else:
                found[netns, what] = sorted(json.dumps(_entry(e), sort_keys=True) for e in entries)
    return found


def _link(link: ip.Link) -> tuple[object, ...]:
    own = sorted(str(a.address) for a in link.addresses if a.address.version == 4 or a.scope == "global")
    return (link.ifname, str(link.kind), str(link.mode), str(link.flag), link.up, link.mtu, *own)


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "lladdr"}


def assert_equal(text: str, count: int) -> None:
    """Check what was shown of `count` labs, each built both ways; a mark ends each."""
    *ways, rest = text.split("=== end\n")
    assert (len(ways), rest.strip()) == (2 * count, "")
    for stepwise, batch in zip(ways[::2], ways[1::2], strict=True):
        assert "failed: " not in stepwise + batch
        assert shown(stepwise) == shown(batch)
        assert len(shown(batch)) > 5


def both(all_labs: Sequence[Lab]) -> str:
    return "".join(f"{built(lab, setup)}echo '=== end'\n" for lab in all_labs for setup in SETUPS)


def of_macvlan(lab: Lab) -> Lab:
    """Return `lab` with macvlan links on its first parent, which each kernel has."""
    parent = lab.parents[0]
    own = tuple(e for e in lab.endpoints if e.parent == parent.name)
    setting = Setting(kind="macvlan")
    names = tuple(e.name for e in own)
    phase = replace(lab.phases[0], setting=setting, endpoints=names, acts=(), others=())
    return replace(lab, parents=(parent,), endpoints=own, phases=(phase,))


def can_be_here(lab: Lab) -> bool:
    """Return whether `of_macvlan` leaves endpoints, on a parent that each kernel has."""
    return lab.parents[0].kind in ("nic", "bridge") and bool(of_macvlan(lab).endpoints)


def on_this_kernel(script: str) -> str:
    # What a lab leaves running, such as radvd, ends with the first process of the namespace.
    words = [*AS_ROOT, "--net", "--mount", "--pid", "--fork", "bash"]
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def settled(times: int) -> settings:
    return settings(max_examples=times, phases=[Phase.explicit, Phase.generate], deadline=None)


@requires("macvlan")
@settled(6)
@given(labs(most_endpoints=4, most_phases=1).filter(can_be_here))
def test_on_this_kernel(lab: Lab) -> None:
    assert_equal(on_this_kernel(both([of_macvlan(lab)])), 1)


def test_on_a_kernel_with_ipvlan() -> None:
    known = [load(gallery.text(name), name) for name in ("vlan-parent", "l3s-proxy", "same-names")]
    all_labs = [*known, new_lab("ten", Setting("l3", strategy="routed"), 10, ipv6=True)]
    assert_equal(in_guest(both(all_labs)).output, len(all_labs))


@pytest.mark.slow
@settled(1)
@given(st.lists(labs(most_endpoints=4, most_phases=1), min_size=6, max_size=6))
def test_random_labs_on_a_kernel_with_ipvlan(random: list[Lab]) -> None:
    assert_equal(in_guest(both(random)).output, len(random))


@requires("macvlan")
def test_what_differs_is_seen() -> None:
    """Else all would be equal to all."""
    lab = of_macvlan(load(gallery.text("l2"), "l2"))
    smaller = replace(lab, endpoints=tuple(replace(e, mtu=1400) for e in lab.endpoints))
    ways = built(lab, "stepwise"), built(smaller, "batch")
    text = on_this_kernel("".join(f"{way}echo '=== end'\n" for way in ways))
    with pytest.raises(AssertionError, match="1400"):
        assert_equal(text, 1)
