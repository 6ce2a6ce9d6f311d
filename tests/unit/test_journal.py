"""The journal of a run: what it holds after a kill at any byte, who may have it, whom it trusts."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.cli import main
from ipvkit.core.errors import CommandFailed, MissingRequirement, UsageError
from ipvkit.plan import resources
from ipvkit.plan.resources import Link, Netns, Proxy, Resource, Route, Sysctl, undo_of
from ipvkit.run import journal
from ipvkit.run.journal import Entry, Journal, started, taken_over
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.tools.ip import parse_links
from requires import requires
from strategies import addresses, interface_addresses, interface_names, ipv6_addresses, netns_names

NAMES, SPACES = interface_names(), netns_names()
EFFECTS: st.SearchStrategy[Resource] = st.one_of(
    st.builds(Netns, SPACES),
    st.builds(Link, NAMES, st.sampled_from(["ipvlan", "macvlan"]), st.none() | SPACES),
    st.builds(Sysctl, st.just("net.ipv4.ip_nonlocal_bind"), st.integers(0, 9), st.none() | SPACES),
    st.builds(Proxy, addresses() | ipv6_addresses(), NAMES),
    st.builds(Route, interface_addresses().map(lambda own: own.network), NAMES),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    with patch.dict(os.environ, XDG_STATE_HOME=str(tmp_path)):
        yield tmp_path / "ipvkit"


def entry(id: str, effect: Resource, former: str = "") -> Entry:
    return Entry(id, f"make {id}", effect, former)


A, B = entry("x.1", Netns("a")), entry("x.2", Sysctl("net.ipv4.ip_nonlocal_bind", 1), "0")


def interrupted(lab: str, *entries: Entry) -> None:
    """Leave what a run of `lab` leaves that is killed after its step has ended."""
    with started(lab) as ledger:
        ledger.begin(entries)
        ledger.end([e.id for e in entries], [])


def test_what_was_made_and_deleted_at_once_has_left_nothing() -> None:
    """One process can do both: a batch of a stage that adds a link and one that deletes it."""
    with started("lab") as ledger:
        ledger.begin([A, B])
        ledger.end(["x.1", "x.2"], ["x.1"])
        assert list(ledger.entries) == ["x.2"]
    with taken_over("lab") as left:
        assert left is not None
        assert list(left.entries) == ["x.2"]


# --- what is on paper --------------------------------------------------------------------------------------


@given(EFFECTS)
def test_an_effect_is_read_as_it_was_written(effect: Resource) -> None:
    written = json.loads(json.dumps(resources.written(effect)))
    assert resources.read(written) == effect


@given(EFFECTS, st.data())
def test_what_was_tampered_with_makes_no_other_command(effect: Resource, data: st.DataObject) -> None:
    """Whatever stands in a field, the undo has the words of that kind of undo, and none that is hostile."""
    written = resources.written(effect)
    field = data.draw(st.sampled_from(sorted(written)))
    written[field] = data.draw(
        st.sampled_from(
            ["a; reboot", "$(id)", "../../x", "-x", "", "a b", "a\nb", None, 7, [], {}, "kernel.x"]
        )
    )
    try:
        undo = undo_of(resources.read(written))
    except UsageError:
        return
    assert undo.argv[0] in ("ip", "sysctl")
    assert not {"a; reboot", "$(id)", "../../x", "-x", "", "a b", "a\nb", "kernel.x="} & set(undo.argv)


def test_the_undo_stands_in_the_file_as_a_person_would_type_it(folder: Path) -> None:
    interrupted("mine", A, B)
    begun = json.loads((folder / "mine.jsonl").read_text().splitlines()[1])["begin"]
    assert [e["undo"] for e in begun] == ["ip netns del a", "sysctl -w net.ipv4.ip_nonlocal_bind=0"]


def test_what_the_file_calls_the_undo_is_not_what_is_run(folder: Path) -> None:
    interrupted("mine", A)
    file = folder / "mine.jsonl"
    file.write_text(file.read_text().replace("ip netns del a", "reboot"))
    (record,) = journal.records()
    assert str(record.entries[0].undo) == "ip netns del a"


@pytest.fixture
def whole(folder: Path) -> bytes:
    interrupted("mine", A, B)
    return (folder / "mine.jsonl").read_bytes()


def test_a_file_that_was_cut_at_any_byte_holds_what_its_whole_lines_say(whole: bytes, folder: Path) -> None:
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 3, "the header, what begins, what was done"
    file = folder / "mine.jsonl"
    for length in range(len(whole)):
        folder.mkdir(mode=0o700, exist_ok=True)
        file.write_bytes(whole[:length])
        begun = length >= len(lines[0] + lines[1])
        with taken_over("mine") as ledger:
            assert ledger is not None
            assert list(ledger.entries) == (["x.1", "x.2"] if begun else [])
            # What is written from now on does not stick to half a line.
            ledger.end([], ["x.2"])
            kept = dict(ledger.entries)
        if begun:
            with taken_over("mine") as ledger:
                assert ledger is not None
                assert ledger.entries == kept
        assert file.exists() == begun, "a journal that holds nothing goes"


def test_a_line_in_the_middle_that_is_none_is_told_and_nothing_is_undone(
    whole: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = whole.splitlines(keepends=True)
    file = folder / "mine.jsonl"
    not_there, endless = b'{"done": {"y": 1}, "undone": []}\n', b'{"done": {"x.1": Infinity}, "undone": []}\n'
    for wrong in (
        *(b"\0\0\0\n", b"{}\n", b"[]\n", b"[" * 100_000 + b"\n", b'{"begin": [{}]}\n', not_there),
        lines[1] + endless,
    ):
        file.write_bytes(lines[0] + wrong + lines[1])
        assert [record.state for record in journal.records()] == ["damaged"]
        with (
            pytest.raises(CommandFailed, match=r"mine\.jsonl is not a valid journal: line [23]"),
            taken_over("mine"),
        ):
            pass
        assert main(["cleanup", "--all"]) == 4
        assert main(["status"]) == 0
        assert "damaged" in capsys.readouterr().out
        assert file.read_bytes() == lines[0] + wrong + lines[1]


def test_of_several_failures_the_highest_exit_code_counts(folder: Path) -> None:
    interrupted("another", A)
    interrupted("one", A)
    file = folder / "another.jsonl"
    file.write_bytes(file.read_bytes() + b"{}\n{}\n")
    assert main(["cleanup", "another"]) == 4
    in_another_netns = re.sub(rb'"netns": \d+', b'"netns": 1', (folder / "one.jsonl").read_bytes())
    (folder / "one.jsonl").write_bytes(in_another_netns)
    assert main(["cleanup", "one"]) == 2
    assert main(["cleanup", "--all"]) == 4
    assert len(journal.records()) == 2


def of_another_boot(folder: Path, **changed: object) -> bytes:
    """Have the journal of lab mine be that of another boot; return what is in it."""
    file = folder / "mine.jsonl"
    header, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(json.dumps({**json.loads(header), "boot": "another", **changed}).encode() + b"\n" + rest)
    return file.read_bytes()


@requires("ip", "sysctl")
@pytest.mark.usefixtures("whole")
def test_a_look_deletes_no_journal_of_another_boot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = of_another_boot(folder, netns=1)
    assert [record.state for record in journal.records()] == ["interrupted"]
    assert main(["status"]) == 0
    assert main(["cleanup", "mine", "--dry-run"]) == 0
    assert "mine" in capsys.readouterr().out
    assert (folder / "mine.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="is not undone"), started("mine"):
        pass
    assert (folder / "mine.jsonl").read_bytes() == before


@pytest.mark.parametrize("stands", [True, False], ids=["it stands", "it has gone"])
def test_a_namespace_that_stands_proves_that_the_machine_has_not_restarted(
    folder: Path, stands: bool
) -> None:
    """As where a container shows another boot than the host."""
    with patch("ipvkit.run.journal.mark_of_netns", lambda _: 17), started("mine") as ledger:
        ledger.begin([A, entry("x.2", Link("b", "ipvlan", "a"))])
        ledger.end(["x.1", "x.2"], [])
        ledger.keep()
    of_another_boot(folder, netns=1)
    with (
        patch("ipvkit.run.journal.mark_of_netns", lambda _: 17 if stands else 18),
        taken_over("mine") as read,
    ):
        assert read is not None
        assert read.restarted is not stands
        assert read.kept is stands
        assert read.elsewhere is stands, "an inode is compared only within a boot"


def test_what_exists_after_a_restart_is_of_another_user(folder: Path) -> None:
    interrupted("mine", A, B)
    of_another_boot(folder)
    with taken_over("mine") as read:
        assert read is not None
        seen = resources.Observation({"a": 17}, {}, (), (), (), {NONLOCAL_BIND: "1"})
        found = [read.state_of(each, seen) for each in read.entries.values()]
        assert {each.state for each in found} == {"changed"}
        assert [each.why for each in found] == [
            "netns a, since the machine has restarted",
            f"{NONLOCAL_BIND} = 1, since the machine has restarted",
        ]
        shim = replace(entry("x.3", Link("shim0", "ipvlan")), mark=5)
        other = resources.Observation(
            {}, {None: parse_links('[{"ifname": "eth1", "ifindex": 5}]')}, (), (), (), {}
        )
        assert read.state_of(shim, other).state == "gone", "not renamed"
        gone = resources.Observation({}, {}, (), (), (), {NONLOCAL_BIND: "0"})
        assert {read.state_of(each, gone).state for each in read.entries.values()} == {"gone"}


@pytest.mark.usefixtures("whole")
def test_no_text_of_a_journal_acts_on_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "mine.jsonl"
    text = file.read_text()
    (folder / "\x1b[31mred.jsonl").write_text(text)
    for name in ("purpose", "id", "started", "name"):
        file.write_text(re.sub(rf'("{name}": ")', r"\1\\u001b[2J", text))
        main(["status"])
        main(["cleanup", "mine", "--dry-run"])
        main(["cleanup", "--all", "--dry-run"])
        out, err = capsys.readouterr()
        assert "mine" in out + err
        assert "\x1b" not in out + err


# --- who has it ------------------------------------------------------------------------------------------


def test_a_run_that_leaves_nothing_leaves_no_file_and_no_folder(folder: Path) -> None:
    with started("mine") as ledger:
        ledger.begin([A])
        assert (folder / "mine.jsonl").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        ledger.end([], ["x.1"])
    assert not folder.exists()


def test_what_begins_is_on_disk_before_begin_returns(folder: Path) -> None:
    with started("mine") as ledger:
        for e in (A, B):
            with patch("os.fsync") as synced:
                ledger.begin([e])
            synced.assert_called_once()
            assert f'"{e.id}"' in (folder / "mine.jsonl").read_text()
        ledger.end([], ["x.1", "x.2"])


HOLDER = """
import sys
from ipvkit.run.journal import started
with started(sys.argv[1]) as ledger:
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(lab: str) -> "subprocess.Popen[str]":
    """Start a process that holds the journal of `lab` until its stdin ends."""
    words = [sys.executable, "-c", HOLDER, lab]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.long
def test_one_of_a_name_at_a_time_and_a_lock_dies_with_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    with holder("mine") as process:
        (record,) = journal.records()
        assert (record.state, record.pid) == ("running", process.pid)
        with (
            pytest.raises(UsageError, match=f"lab mine is running, as process {process.pid}"),
            started("mine"),
        ):
            pass
        with pytest.raises(UsageError, match="is running"), taken_over("mine"):
            pass
        assert main(["cleanup", "mine"]) == 2
        assert main(["down", "mine"]) == 2
        assert "is running" in capsys.readouterr().err
        with started("another"):
            pass
        process.kill()
    with started("mine"):
        pass
    assert journal.records() == []


@requires("ip")
@pytest.mark.parametrize("kept", [True, False], ids=["up", "interrupted"])
def test_what_a_run_has_left_stops_the_next_of_that_name_and_tells_what_to_type(kept: bool) -> None:
    with started("mine") as ledger:
        ledger.begin([A])
        if kept:
            ledger.keep()
    what = "is up since" if kept else "was interrupted"
    with pytest.raises(UsageError, match=what) as refused, started("mine"):
        pass
    assert refused.value.hint == f"ipvkit {'down' if kept else 'cleanup'} mine"
    (record,) = journal.records()
    assert record.state == ("up" if kept else "interrupted")
    assert main(["cleanup", "mine", "--dry-run"]) == (2 if kept else 0)
    assert main(["down", "mine", "--dry-run"]) == 0


@pytest.mark.parametrize("name", ["../mine", "/mine", "", ".", "-x", "a/b", "a\0b", "a\nb", "x" * 300])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("")
    interrupted("other", A)
    with pytest.raises(UsageError), taken_over(name):
        pass
    assert main(["cleanup", "--", name]) == 2
    assert (tmp_path / "mine.jsonl").exists()


# --- whom it trusts --------------------------------------------------------------------------------------


def _link(file: Path, other: Path) -> None:
    other.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(other)


def _second_name(file: Path, other: Path) -> None:
    other.hardlink_to(file)


def _open_to_all(file: Path, _: Path) -> None:
    file.chmod(0o666)


def _open_folder(file: Path, _: Path) -> None:
    file.parent.chmod(0o777)


def _somebody_elses(file: Path, _: Path) -> None:
    os.chown(file, 12345, 12345)


def _fifo(file: Path, _: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "change",
    [
        *(_link, _second_name, _open_to_all, _open_folder, _fifo),
        pytest.param(_somebody_elses, marks=requires("root")),
    ],
    ids=lambda change: change.__name__.strip("_"),
)
def test_what_somebody_else_could_have_written_is_not_trusted(
    change: object, folder: Path, tmp_path: Path
) -> None:
    interrupted("mine", A)
    assert callable(change)
    change(folder / "mine.jsonl", tmp_path / "other")
    with pytest.raises((MissingRequirement, CommandFailed)), taken_over("mine"):
        pass
    with pytest.raises(MissingRequirement), started("mine"):
        pass
    if change is not _open_folder:
        assert [record.state for record in journal.records()] == ["damaged"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_that_is_none_is_refused_by_each_command(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "link":
        interrupted("mine", A)
        folder.rename(tmp_path / "real")
        folder.symlink_to("real")
    else:
        folder.write_text("")
    for words in (["status"], ["cleanup", "--all"], ["cleanup", "mine"], ["down", "mine"]):
        assert main(words) == 3
        why = "it is a symbolic link" if kind == "link" else "Not a directory"
        assert f"error: the journals in {folder} cannot be read: {why}\n" in capsys.readouterr().err


def test_a_run_that_is_not_on_record_is_an_error_and_with_all_it_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["cleanup", "mine"], ["down", "mine"], ["cleanup", "mine", "--dry-run"]):
        assert main(words) == 2
        assert capsys.readouterr().err == (
            "error: no run of lab mine is on record\nhint: `ipvkit status` lists the runs\n"
        )
    for words in (["cleanup", "--all"], ["cleanup", "--all", "--dry-run"]):
        assert main(words) == 0
        assert capsys.readouterr() == ("", "nothing to clean up\n")


# --- at boot ---------------------------------------------------------------------------------------------


def test_the_unit_for_the_boot_is_written_and_not_enabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = tmp_path / "units" / "ipvkit-cleanup.service"
    with patch("ipvkit.report.systemd.CLEANUP_UNIT", unit):
        assert main(["cleanup", "--install-unit"]) == 3
        unit.parent.mkdir()
        capsys.readouterr()
        assert main(["cleanup", "--install-unit", "--dry-run"]) == 0
        shown = capsys.readouterr().out
        assert not unit.exists()
        assert main(["cleanup", "--install-unit"]) == 0
    assert unit.read_text() == shown
    assert "ipvkit cleanup --all\n" in shown
    assert f"XDG_STATE_HOME={tmp_path}\n" in shown, "where the journals are"
    out, err = capsys.readouterr()
    assert out == f"{unit}: written\n"
    assert err == "to enable it, type: systemctl daemon-reload && systemctl enable ipvkit-cleanup\n"
    for words in (["--all"], ["mine"]):
        assert main(["cleanup", "--install-unit", *words]) == 2


def test_a_folder_that_cannot_be_written_is_told_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        patch.dict(os.environ, XDG_STATE_HOME=str(tmp_path / "file")),
        pytest.raises(MissingRequirement, match="cannot be written") as refused,
        started("mine"),
    ):
        pass
    assert "XDG_STATE_HOME" in refused.value.hint


def test_a_disk_that_is_full_is_told_and_what_was_begun_before_is_kept(folder: Path) -> None:
    with started("mine") as ledger:
        ledger.begin([A])
        before = (folder / "mine.jsonl").read_bytes()
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
        try:
            with pytest.raises(CommandFailed, match="cannot be written"):
                ledger.begin([B])
            ledger.end(["x.1"], [])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert list(ledger.entries) == ["x.1"]
        assert (folder / "mine.jsonl").read_bytes() == before, "no half line"
        ledger.end([], ["x.1"])


def test_the_journal_of_root_is_in_run_and_goes_with_a_restart() -> None:
    with patch.dict(os.environ), patch("os.geteuid", lambda: 0):
        del os.environ["XDG_STATE_HOME"]
        assert journal.folder() == Path("/run/ipvkit")
        os.environ["XDG_STATE_HOME"] = "relative"
        assert journal.folder() == Path("/run/ipvkit"), "a relative one is none (XDG Base Directory)"


def test_a_journal_tells_that_its_run_was_in_another_network_namespace() -> None:
    interrupted("mine", A)
    with taken_over("mine") as ledger:
        assert isinstance(ledger, Journal)
        assert not ledger.elsewhere
        ledger.header = {**ledger.header, "netns": 1}
        assert ledger.elsewhere


def test_a_journal_without_entries_stays_for_a_look_and_goes_with_a_cleanup(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is killed before its first step leaves one."""
    file = folder / "mine.jsonl"
    with started("mine"):
        header = file.read_bytes()
    for begun in (b"", header[:9], header):
        folder.mkdir(exist_ok=True)
        file.write_bytes(begun)
        for words in (["status"], ["cleanup", "--all", "--dry-run"]):
            assert main(words) == 0
            assert file.read_bytes() == begun
        assert main(["cleanup", "--all"]) == 0
        assert not folder.exists()
    capsys.readouterr()


def test_a_folder_without_files_goes_with_a_cleanup(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is killed before it has opened its journal leaves one."""
    folder.mkdir()
    (folder / "other").touch()
    assert main(["cleanup", "--all"]) == 0
    assert folder.exists()
    (folder / "other").unlink()
    for words in (["status"], ["cleanup", "--all", "--dry-run"]):
        assert main(words) == 0
        assert folder.exists()
    assert main(["cleanup", "--all"]) == 0
    assert not folder.exists()
    capsys.readouterr()


def test_a_journal_that_is_read_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted("mine", A)
    held = ExitStack()
    held.enter_context(taken_over("mine"))
    monkeypatch.setattr("time.sleep", lambda _: held.close())
    with taken_over("mine") as ledger:
        assert ledger is not None
        assert [*ledger.entries] == ["x.1"]
