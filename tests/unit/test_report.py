"""Reports: a check's verdict is what was observed held against what was predicted, and never a guess."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import chain, product
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core.command import Completed
from ipvkit.core.errors import CommandFailed, Interrupted, IpvkitError, MissingRequirement, UnparsableOutput
from ipvkit.host import doctor
from ipvkit.host.checks import Finding, Findings
from ipvkit.host.doctor import Health, TargetHealth, Tool
from ipvkit.lab import LOST_AFTER, Act, Attempt, Check, Outcome, SetMtu, Setting, on_parent
from ipvkit.plan.make import make_plan
from ipvkit.report import doctor as doctor_report
from ipvkit.report import json as report_json
from ipvkit.report import table
from ipvkit.report.plain import fitted, plain
from ipvkit.run.batches import Job
from ipvkit.run.engine import Run
from ipvkit.run.rollback import Finished
from ipvkit.run.verdicts import Result, Verdict, judge
from ipvkit.targets import kernels
from ipvkit.targets.kernels import Kernel
from ipvkit.tools.ping import PingReport
from ping_output import lost_at_the_end, ping_reports, printed
from recorder import answered, unanswered, watched_to_its_end
from runs import ADDRESS, all_jobs, as_predicted, plan_of, probes, run_of, walkthrough

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def verdict_on(output: str | Completed, *, watch: int | None = None) -> Verdict:
    (verdict,) = judge(run_of(plan_of(Check("test1", "gateway", watch)), output)).checks
    return verdict


# --- verdicts ------------------------------------------------------------------------------------------


@given(ping_reports(), st.none() | st.integers(1, 60))
def test_no_reply_is_unreachable_and_any_reply_is_not(report: PingReport, watch: int | None) -> None:
    verdict = verdict_on(printed(report), watch=watch)
    assert (verdict.observed is Outcome.UNREACHABLE) == (report.received == 0)
    assert verdict.ping == report


@given(ping_reports())
def test_a_path_that_is_not_watched_never_expires(report: PingReport) -> None:
    verdict = verdict_on(printed(report))
    assert verdict.observed in (Outcome.REACHABLE, Outcome.UNREACHABLE)
    assert verdict.lifetime_s is None


@given(ping_reports(timestamps=True), st.integers(1, 60))
def test_a_watched_path_expires_when_ping_said_so_or_its_tail_had_no_reply(
    report: PingReport, watch: int
) -> None:
    verdict = verdict_on(printed(report), watch=watch)
    assert report.transmitted is not None
    if report.received:
        tail = report.transmitted - report.replies[-1].seq
        lost = report.error_count or tail >= LOST_AFTER
        assert verdict.observed is (Outcome.EXPIRES if lost else Outcome.REACHABLE)


@given(ping_reports(timestamps=True), st.integers(1, 60))
def test_a_path_that_expired_lived_from_its_first_reply_to_its_last(report: PingReport, watch: int) -> None:
    verdict = verdict_on(printed(report), watch=watch)
    if verdict.observed is Outcome.EXPIRES:
        first, last = report.replies[0].timestamp, report.replies[-1].timestamp
        assert first is not None
        assert last is not None
        assert verdict.lifetime_s == pytest.approx(last - first, abs=1e-5)
        assert verdict.lifetime_s is not None
        assert verdict.lifetime_s >= 0
    else:
        assert verdict.lifetime_s is None


@pytest.mark.parametrize("tail", range(LOST_AFTER + 2))
def test_a_tail_without_replies_counts_from_a_length_on(tail: int) -> None:
    verdict = verdict_on(printed(lost_at_the_end(IPv4Address(ADDRESS), tail)), watch=9)
    assert verdict.observed is (Outcome.EXPIRES if tail >= LOST_AFTER else Outcome.REACHABLE)


def test_a_watched_path_of_which_only_the_count_is_known_is_reachable() -> None:
    lines = answered(ADDRESS).splitlines(keepends=True)
    verdict = verdict_on("".join(line for line in lines if "icmp_seq" not in line), watch=9)
    assert (verdict.observed, verdict.lifetime_s) == (Outcome.REACHABLE, None)


UNREADABLE = pytest.mark.parametrize(
    "output",
    [
        "",
        "ping: connect: Network is unreachable\n",
        unanswered(ADDRESS).partition("---")[0],
        "\0",
        "100% loss",
    ],
    ids=["nothing", "an error", "half", "a null", "a word"],
)


@UNREADABLE
@pytest.mark.parametrize("watch", [None, 9])
@pytest.mark.parametrize("exit_code", [0, 1, 2])
def test_output_that_cannot_be_read_is_an_error_and_never_unreachable(
    output: str, watch: int | None, exit_code: int
) -> None:
    plan = plan_of(Check("test1", "gateway", watch), Check("test2", "gateway", watch))
    result = judge(run_of(plan, Completed(exit_code, output, "", 0.1), answered(ADDRESS)))
    unread, read = result.checks
    assert unread.observed is None
    assert unread.passed is None
    assert read.observed is Outcome.REACHABLE, "the others are judged all the same"
    assert isinstance(result.failure, UnparsableOutput)
    assert result.verdict == "error"
    assert result.exit_code == 4


def test_a_host_without_a_route_is_unreachable() -> None:
    no_route = Completed(2, "", "ping: connect: Network is unreachable\n", 0.1)
    for watch in (None, 9):
        verdict = verdict_on(no_route, watch=watch)
        assert (verdict.observed, verdict.ping, verdict.lifetime_s) == (Outcome.UNREACHABLE, None, None)


@pytest.mark.parametrize("exit_code", [-9, 3, 127])
def test_a_ping_that_failed_or_never_ran_was_not_observed(exit_code: int) -> None:
    plan = plan_of(Check("test1", "gateway"), Check("test2", "gateway"))
    run = run_of(plan, Completed(exit_code, unanswered(ADDRESS), "ping: bad", 0.1))
    del run.completed[probes(plan)[1].id]
    assert [(check.observed, check.passed) for check in judge(run).checks] == [(None, None), (None, None)]


@pytest.mark.parametrize("count", range(1, 5))
def test_a_run_passes_when_every_check_came_out_as_predicted(count: int) -> None:
    plan = plan_of(*(Check("test1", "test2", watch) for watch in range(1, count + 1)))
    for held in product((True, False), repeat=count):
        result = judge(run_of(plan, *(answered(ADDRESS) if one else unanswered(ADDRESS) for one in held)))
        assert tuple(check.passed for check in result.checks) == held
        assert (result.verdict, result.exit_code) == (("pass", 0) if all(held) else ("fail", 1))


def test_an_expected_unreachable_passes() -> None:
    plan = plan_of(Check("host", "test1"))
    assert judge(run_of(plan, Completed(1, unanswered(ADDRESS), "", 1.0))).exit_code == 0
    assert judge(run_of(plan, answered(ADDRESS))).exit_code == 1


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [
        (CommandFailed("x"), 4),
        (Interrupted("x"), 130),
        (MissingRequirement("x"), 3),
        (UnparsableOutput("ip", 1, "x"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_an_error_with_its_own_exit_code_whatever_the_checks_say(
    failure: IpvkitError, exit_code: int
) -> None:
    for output in (answered(ADDRESS), unanswered(ADDRESS), "not a ping"):
        result = judge(run_of(plan_of(Check("test1", "gateway")), output, failure=failure))
        assert (result.verdict, result.exit_code) == ("error", exit_code)
        assert result.failure is failure


def test_what_is_left_behind_is_an_error_even_where_all_checks_passed() -> None:
    run = run_of(plan_of(Check("test1", "gateway")), answered(ADDRESS))
    run.residue = ("netns test1",)
    assert (judge(run).verdict, judge(run).exit_code) == ("error", 4)


def test_checks_that_were_skipped_are_there_and_change_nothing() -> None:
    result = judge(as_predicted(on_parent(walkthrough(), "eth0")))
    skipped = [check for check in result.checks if check.probe.skipped]
    assert skipped
    assert {(check.observed, check.passed) for check in skipped} == {(None, None)}
    assert result.exit_code == 0


# --- attempts -------------------------------------------------------------------------------------------


def attempts(*exit_codes: int) -> Result:
    """Return the result of as many attempts, to which the kernel says yes where its exit code is 0."""
    lab = walkthrough()
    tried = tuple(Attempt(SetMtu("test1", 1400 + at)) for at in range(len(exit_codes)))
    plan = make_plan(replace(lab, phases=(replace(lab.phases[0], acts=(Act(attempts=tried),)),)))
    return judge(run_of(plan, *(Completed(code, "", "no" if code else "", 0.1) for code in exit_codes)))


def test_the_kernels_answer_is_told_by_the_exit_code() -> None:
    result = attempts(0, 2)
    assert [verdict.observed for verdict in result.checks] == [Outcome.ACCEPTED, Outcome.REFUSED]
    assert [verdict.passed for verdict in result.checks] == [True, False]
    assert (result.verdict, result.exit_code) == ("fail", 1)
    assert (attempts(0, 0).verdict, attempts(0, 0).exit_code) == ("pass", 0)


def test_an_attempt_that_failed_otherwise_was_not_observed() -> None:
    (verdict,) = attempts(1).checks
    assert (verdict.observed, verdict.passed) == (None, None)


def test_attempts_are_told_beside_the_checks_of_their_phase() -> None:
    result = attempts(0, 2)
    document = written(result)
    found = [attempt for phase in document["phases"] for attempt in phase["attempts"]]
    assert [phase["checks"] for phase in document["phases"]] == [[], []]
    assert [(a["change"], a["expected"], a["observed"], a["passed"]) for a in found] == [
        ("set test1's mtu to 1400", "accepted", "accepted", True),
        ("set test1's mtu to 1401", "accepted", "refused", False),
    ]
    assert all(attempt["reason"] for attempt in found)
    rows = [line for line in table.render(result).splitlines() if line.startswith("set test1's mtu")]
    assert ["accepted" in rows[0], "DIFFERS" in rows[1]] == [True, True]
    assert "(DIFFERS: set test1's mtu to 1401)" in table.render(result).splitlines()[-1]


# --- the table ------------------------------------------------------------------------------------------


def failing() -> Result:
    plan = plan_of(Check("test1", "gateway"), Check("test2", "gateway"), Check("host", "test1"))
    return judge(run_of(plan, answered(ADDRESS), unanswered(ADDRESS), unanswered(ADDRESS)))


def test_the_table_has_a_line_for_each_check_with_what_was_predicted_and_observed() -> None:
    text = table.render(failing())
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines() if " -> " in line]
    assert [row[:5] for row in rows[:3]] == [
        ["test1 -> gateway", ADDRESS, "reachable", "reachable", "as predicted"],
        ["test2 -> gateway", ADDRESS, "reachable", "unreachable", "DIFFERS"],
        ["host -> test1", "192.168.104.211", "unreachable", "unreachable", "as predicted"],
    ]
    assert all(row[5] for row in rows[:3]), "each with the reason"


def test_the_last_line_is_the_verdict_and_names_what_came_out_otherwise() -> None:
    assert table.render(failing()).splitlines()[-1] == (
        "walkthrough: 2 of 3 as predicted (DIFFERS: test2 -> gateway); "
        "2 pairs unreachable: test2 -> gateway, host -> test1; local, kernel 6.12.0; 2.0 s"
    )
    right = judge(as_predicted(walkthrough()))
    assert table.verdict_line(right) == (
        "walkthrough: 12 of 12 as predicted; 2 pairs unreachable: test1 -> gateway, host -> test1; "
        "local, kernel 6.12.0; 2.0 s"
    )
    assert written(right)["unreachable"] == ["test1 -> gateway", "host -> test1"]


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from([4, 6]), st.booleans()), max_size=20))
@example([(name, 4, False) for name in "abcde"])
@example([(name, 4, False) for name in "abcdef"])
def test_a_pair_is_unreachable_where_its_last_check_of_a_family_was(
    asked: list[tuple[str, int, bool]],
) -> None:
    checks = [Check(name, "gateway", family="ipv4" if ip == 4 else "ipv6") for name, ip, _ in asked]
    (probe,) = (step.probe for step in probes(plan_of(Check("test1", "gateway"))))
    assert probe is not None
    seen = [Outcome.REACHABLE if works else Outcome.UNREACHABLE for *_, works in asked]
    verdicts = tuple(Verdict(replace(probe, check=c), o) for c, o in zip(checks, seen, strict=True))
    result = Result(run_of(plan_of(Check("test1", "gateway"))), {"l2": verdicts}, None)
    expected = {
        f"{name} -> gateway"
        for number, (name, ip, works) in enumerate(asked)
        if not works and (name, ip) not in [later[:2] for later in asked[number + 1 :]]
    }
    found = table.unreachable(result)
    assert (set(found), len(found)) == (expected, len(expected))
    (shown,) = re.findall(r"unreachable: ([^;]*)", table.verdict_line(result)) or [""]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    assert shown == ", ".join(found[:5]) + more


def test_a_failure_is_the_first_word_of_the_last_line() -> None:
    line = table.verdict_line(results()[4])
    assert line == "error: walkthrough: 0 of 12 as predicted; uml; 0.0 s"


def test_the_table_tells_how_long_a_watched_path_lived() -> None:
    run = run_of(plan_of(Check("test1", "gateway", 15)), watched_to_its_end(ADDRESS))
    assert "expires after 2.0 s" in table.render(judge(run))


def test_the_table_tells_what_was_skipped_and_why() -> None:
    text = table.render(judge(as_predicted(on_parent(walkthrough(), "eth0"))))
    assert "skipped" in text
    assert "another machine" in text
    assert "skipped" in text.splitlines()[-1]


def test_the_table_tells_what_is_left_behind() -> None:
    run = run_of(plan_of(Check("test1", "gateway")), answered(ADDRESS))
    run.residue = ("netns test1", "link test1")
    text = table.render(judge(run))
    assert "left behind:" in text
    assert "  netns test1\n  link test1\n" in text


@pytest.mark.parametrize("width", [None, 80, 100, 120, 160])
def test_colour_changes_nothing_but_colour(width: int | None) -> None:
    plain = table.render(failing(), width=width)
    coloured = table.render(failing(), colour=True, width=width)
    assert "\x1b" not in plain
    assert "\x1b[32mas predicted\x1b[0m" in coloured
    assert "\x1b[1;31mDIFFERS\x1b[0m" in coloured
    assert ANSI.sub("", coloured) == plain


@pytest.mark.long
@for_each("colour", [False, True])
@for_each("width", range(80, 200, 7))
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int, colour: bool) -> None:
    for result in (failing(), judge(as_predicted(walkthrough()))):
        lines = ANSI.sub("", table.render(result, colour=colour, width=width)).splitlines()
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_that_wraps_leaves_no_word_out_but_the_heading_of_what_stands_below(width: int) -> None:
    wide, narrow = (table.render(failing(), width=width) for width in (None, width))
    if width < 110:
        wide = wide.replace(" reason\n", "\n")
    words = re.findall(r"[^\s-]+", wide)
    assert sorted(re.findall(r"[^\s-]+", narrow)) == sorted(words)


@given(
    st.lists(st.lists(st.text("ab c-", max_size=60), min_size=3, max_size=3), max_size=4),
    st.integers(40, 120),
)
def test_a_table_fits_if_its_words_let_it_and_loses_none(rows: list[list[str]], width: int) -> None:
    headers = ("one", "two", "three")
    whole, fits = fitted(rows, headers, None), fitted(rows, headers, width)
    longest = max(map(len, " ".join(chain(*rows)).split()), default=0)
    *others, _ = sorted(map(len, whole.splitlines()[1].split()))
    assert max(map(len, fits.splitlines())) <= max(width, sum(others) + 4 + max(longest, 5))
    assert fits == whole or len(whole.splitlines()[1]) > width
    assert Counter(re.findall(r"[a-z]", fits)) == Counter(re.findall(r"[a-z]", whole))


def test_a_path_in_a_table_stands_whole_however_narrow_the_terminal_is() -> None:
    path = "/var/cache/ipvkit/kernels/5.10.46/usr/bin/linux.uml"
    assert path in fitted([["5.10.46", path]], ("kernel", "program"), 40)
    narrow = fitted([["5.10.46", path, f"what {path} is"]], ("kernel", "program", "about"), 80)
    assert narrow.count(path) == 2


# --- JSON ------------------------------------------------------------------------------------------------


def schema_of(what: str) -> Any:
    return json.loads((REFERENCE / f"{what}.schema.json").read_text())


def parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_mode_and_a_flag_are_those_of_ipvlan() -> None:
    lab = walkthrough()
    for setting, told in ((Setting(), ["l2", "bridge"]), (Setting(kind="macvlan"), [None, None])):
        phase = replace(lab.phases[0], setting=setting, acts=())
        section = written(judge(run_of(make_plan(replace(lab, phases=(phase,))))))["phases"][-1]
        assert [section["mode"], section["flag"]] == told


def written(result: Result) -> Any:
    """Return the document of a run, which is laid out as `json.dumps` does."""
    text = "".join(report_json.render(result))
    found = parsed(text)
    assert text == json.dumps(found, indent=2) + "\n"
    return found


def results() -> Sequence[Result]:
    """Return results of every kind."""
    passed, skipped = as_predicted(walkthrough()), as_predicted(on_parent(walkthrough(), "eth0"))
    left = as_predicted(walkthrough())
    left.residue = ("netns test1",)
    step = left.plan.undos[0]
    assert step.undo is not None
    left.undone = [
        Finished(
            Job(step.id, step.purpose, step.undo.command("0")), Completed(1, "", "no", 0.1), undoing=True
        )
    ]
    kept = as_predicted(walkthrough())
    kept.kept = True
    problem = CommandFailed("it failed", "mend it", command="ip netns add x", stderr="File exists")
    stopped = Run(passed.plan, "uml", failure=problem)
    return [*map(judge, (passed, skipped, left, kept, stopped)), failing()]


@pytest.mark.long
@pytest.mark.parametrize("number", range(6))
def test_a_run_is_one_json_document_that_its_schema_describes(number: int) -> None:
    document = written(results()[number])
    assert next(iter(document)) == "schema"
    assert document["schema"] == "ipvkit/run/v1"
    jsonschema_rs.validate(schema_of("run-v1"), document)


def test_a_run_tells_each_step_and_each_check_by_its_phase() -> None:
    result = judge(as_predicted(walkthrough()))
    document = written(result)
    assert [phase["name"] for phase in document["phases"]] == ["lan", "l2", "l3"]
    assert [phase["mode"] for phase in document["phases"]] == [None, "l2", "l3"]
    steps = [step for phase in document["phases"] for step in phase["steps"]]
    jobs = all_jobs(result.run.plan)
    assert [step["argv"] for step in steps] == [list(job.command.argv) for job in jobs]
    assert [step["command"] for step in steps] == [str(job.command) for job in jobs]
    checks = [check for phase in document["phases"] for check in phase["checks"]]
    assert all(check["passed"] for check in checks)
    watched = next(check for check in checks if check["expected"] == "expires")
    assert watched["lifetime_s"] == pytest.approx(2.0)
    (ping,) = (check.ping for check in result.checks if check.lifetime_s is not None)
    assert ping is not None
    assert watched["ping"] == plain(ping)


def test_a_failure_is_told_with_its_command_and_its_exit_code() -> None:
    document = written(results()[4])
    assert document["verdict"] == "error"
    assert document["error"] == {
        "message": "it failed",
        "hint": "mend it",
        "command": "ip netns add x",
        "stderr": "File exists",
        "exit_code": 4,
    }
    assert all(phase["steps"] == [] for phase in document["phases"])


@given(ping_reports())
def test_what_a_ping_saw_is_told_whole(report: PingReport) -> None:
    run = run_of(plan_of(Check("test1", "gateway")), printed(report))
    document = written(judge(run))
    (check,) = (check for phase in document["phases"] for check in phase["checks"])
    assert check["ping"] == parsed(json.dumps(plain(report)))
    assert check["address"] == str(IPv4Address(ADDRESS))


UML = TargetHealth("uml", True, "6.12")
LOCAL = TargetHealth("local", False, "6.12", "only root can", "use sudo")
HEALTHS = (
    Health((LOCAL,), (Tool("ip", None, None, "iproute2"),)),
    Health(
        (LOCAL, UML),
        (Tool("ip", "/sbin/ip", "6.15", "iproute2"), Tool("arping", None, None, "iputils-arping")),
    ),
    Health(
        (UML,), tuple(Tool(name, f"/bin/{name}", "1", name) for name in ("ip", "ping", "arping", "sysctl"))
    ),
)


@pytest.mark.parametrize("health", HEALTHS, ids=["nothing works", "one tool is missing", "all is well"])
def test_what_works_here_is_one_json_document_that_its_schema_describes(health: Health) -> None:
    document = parsed(doctor_report.render_json(health))
    assert document["schema"] == "ipvkit/doctor/v1"
    assert document["works"] == health.works
    jsonschema_rs.validate(schema_of("doctor-v1"), document)


def test_what_is_missing_is_told_with_the_line_that_installs_it() -> None:
    text = doctor_report.render_table(HEALTHS[1])
    assert "apt install iputils-arping" in text
    assert text.endswith("labs do not run here\n")
    assert doctor_report.render_table(HEALTHS[2]).endswith("labs run here\n")


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("fetched", [(), ("6.12.113",), ("7.2.7",)])
def test_the_kernel_of_a_package_is_missing_only_where_it_would_run_and_no_other_does(
    monkeypatch: pytest.MonkeyPatch, amx: bool, fetched: tuple[str, ...]
) -> None:
    for module in (doctor, kernels):
        monkeypatch.setattr(module, "has_amx", lambda: amx)
    absent = (Tool("arping", None, None, "iputils-arping"), Tool("linux.uml", None, None, "user-mode-linux"))
    there = tuple(Kernel(release, "linux", Path("modules"), "fetched") for release in fetched)
    needed = " user-mode-linux" if not amx and not fetched else ""
    assert Health((UML,), absent, there).fix == f"apt install iputils-arping{needed}"


def test_what_was_found_about_a_parent_comes_last() -> None:
    found = Finding("link-down", "error", "eth0 is down", "ip link set eth0 up")
    text = doctor_report.render_table(HEALTHS[2], Findings("eth0", (found,)))
    header, _, row = text.splitlines()[-3:]
    assert header.split("  ")[0] == "finding about eth0"
    assert re.split("  +", row) == ["eth0 is down", "error", "ip link set eth0 up"]
    free = doctor_report.render_table(HEALTHS[2], Findings("eth0", ()))
    assert free.endswith("\neth0: no problems found\n")
    document = parsed(doctor_report.render_json(HEALTHS[2], Findings("eth0", (found,))))
    assert document["parent"] == {
        "dev": "eth0",
        "findings": [
            {
                "code": "link-down",
                "severity": "error",
                "what": "eth0 is down",
                "mend": "ip link set eth0 up",
            }
        ],
    }
    assert parsed(doctor_report.render_json(HEALTHS[2]))["parent"] is None


# --- errors ----------------------------------------------------------------------------------------------


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")))


@given(PRINTABLE.filter(bool), PRINTABLE, PRINTABLE, PRINTABLE)
def test_an_error_reads_in_the_order_of_the_contract(
    message: str, hint: str, command: str, stderr: str
) -> None:
    text = str(IpvkitError(message, hint, command=command, stderr=stderr))
    parts = [f"error: {message}"]
    if command:
        parts.append(f"command: {command}")
    if hint:
        parts.append(f"hint: {hint}")
    at = [text.index(part) for part in parts]
    assert at == sorted(at)
    assert text.startswith("error: ")
