"""The pytest plugin, in runs of pytest with it: what is collected, what fails, and with which text."""

import pytest

from cases import one_by_default

pytestmark = pytest.mark.long

LAB = """\
name: web
about: a service
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254}
endpoints:
  - {name: web, addresses: 192.168.104.211/24}
phases:
  - {name: l2, mode: l2, do: [{check: [{from: web, to: gateway}, {from: host, to: web, expect: EXPECT}]}]}
  - {name: l3, mode: l3, do: [{check: [{from: web, to: gateway}]}, {check: [{from: web, to: gateway}]}]}
"""
TESTS = """\
import pytest

seen = []

@pytest.mark.ipvlan_lab("web.yaml", phase="l3", scope="module")
@pytest.mark.parametrize("number", [1, 2])
def test_one_lab_for_both(ipvlan_lab, number):
    seen.append(ipvlan_lab)
    assert seen[0] is ipvlan_lab
    assert ipvlan_lab.ping("gateway", "web").observed == "unreachable"

@pytest.mark.ipvlan_lab("web.yaml")
def test_another_lab(ipvlan_lab):
    assert all(ipvlan_lab is not each for each in seen)
    assert ipvlan_lab.ping("gateway", "web").observed == "reachable"
"""


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist", *options)


@pytest.mark.extra
def test_a_lab_file_has_a_test_for_each_check(pytester: pytest.Pytester) -> None:
    (pytester.path / "web.ipvkit.yaml").write_text(LAB.replace("EXPECT", "unreachable"))
    done = run(pytester, "--collect-only", "-q")
    assert [line for line in done.outlines if "::" in line] == [
        "web.ipvkit.yaml::l2: web -> gateway",
        "web.ipvkit.yaml::l2: host -> web",
        "web.ipvkit.yaml::l3: web -> gateway",
        "web.ipvkit.yaml::l3: web -> gateway #2",
    ]


@pytest.mark.extra
def test_an_invalid_lab_file_is_one_clear_error(pytester: pytest.Pytester) -> None:
    (pytester.path / "web.ipvkit.yaml").write_text(LAB.replace("mode: l2", "mode: l4"))
    done = run(pytester)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert any("web.ipvkit.yaml:8: mode: unknown value 'l4'" in line for line in done.outlines)
    assert not any("Traceback" in line or "plugin.py" in line for line in done.outlines)


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        *one_by_default(
            ("", "the fixture ipvlan_lab needs a marker: ipvlan_lab(LAB, "),
            (
                "@pytest.mark.ipvlan_lab('l2', scope='package')",
                "unknown scope 'package'; choose from function, ",
            ),
            (
                "@pytest.mark.ipvlan_lab('./none.yaml')",
                "none.yaml' cannot be read: No such file or directory",
            ),
        ),
        # A kernel is chosen first.
        pytest.param(
            "@pytest.mark.ipvlan_lab('l2', phase='l9')",
            "error: lab l2 has no phase 'l9'",
            marks=pytest.mark.kernel,
        ),
    ],
)
def test_a_wrong_marker_is_one_clear_error(pytester: pytest.Pytester, marker: str, says: str) -> None:
    pytester.makepyfile(f"import pytest\n{marker}\ndef test_it(ipvlan_lab): pass\n")
    done = run(pytester)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(errors=1)
    assert any(says in line for line in done.outlines)


@pytest.mark.kernel
def test_checks_fail_where_they_differ(pytester: pytest.Pytester) -> None:
    (pytester.path / "web.ipvkit.yaml").write_text(LAB.replace("EXPECT", "reachable"))
    done = run(pytester)
    done.assert_outcomes(passed=3, failed=1)
    found = "host -> web: predicted reachable, observed unreachable: the lab expects this; the model predicts"
    assert any(line.startswith(found) for line in done.outlines)


@pytest.mark.promise
@pytest.mark.kernel
def test_a_lab_stands_for_a_test_or_a_module(pytester: pytest.Pytester) -> None:
    (pytester.path / "web.yaml").write_text(LAB.replace("EXPECT", "unreachable"))
    pytester.makepyfile(TESTS)
    run(pytester).assert_outcomes(passed=3)
