"""Rounds on a host of a fleet: what is sent is one plain command, and what comes back is read in whole."""

import base64
import gzip
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.errors import CommandFailed
from ipvkit.targets import rounds
from ipvkit.targets.rounds import Round, parse_answer, split
from requires import requires

BASH = Path(rounds.__file__).parent / "round.bash"


def row(name: str, *argv: str, stdin: str = "") -> tuple[str, ...]:
    words = (name, f"{name}.out", f"{name}.err", name, str(len(argv)), *argv, stdin)
    return (str(len(words)), *words)


def answer(text: str) -> str:
    return f"noise\r\n<ipvkit {base64.b64encode(gzip.compress(text.encode())).decode()}>\r\n"


@requires("shellcheck")
def test_the_script_of_a_round_is_plain_bash() -> None:
    words = ["shellcheck", str(BASH)]
    subprocess.run(words, check=True)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_every_word_arrives_as_it_was(words: list[str]) -> None:
    text = Round(tuple(words), 60, lines=tuple(words)).script().splitlines(keepends=True)
    call = "".join(text[len(BASH.read_text().splitlines()) + 1 :])
    argv = ["bash", "-c", f"round() {{ printf '%s\\0' \"${{@:8}}\"; }}\n{call}"]
    printed = subprocess.run(argv, capture_output=True, check=True)
    expected = [str(len(words)), *words, "0", str(len(words)), *words, ""]
    assert printed.stdout.decode().split("\0") == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_the_command_is_one_that_no_shell_and_no_template_reads_otherwise(words: list[str]) -> None:
    first, *others = Round(tuple(words), 60).command().split(" | ")
    assert others == ["base64 -d", "gzip -dc", "bash"]
    assert first == shlex.join(shlex.split(first))


def test_what_is_too_long_for_one_command_is_refused() -> None:
    with pytest.raises(CommandFailed, match="too many"):
        Round((base64.b64encode(os.urandom(rounds.LONGEST)).decode(),), 60).command()


def test_rows_are_split_between_two() -> None:
    first, second, third = row("0", "a", "b"), row("1", "c", stdin="x\ny"), row("2", "d")
    assert list(split(first + second + third)) == [first + second, third]
    assert list(split(first)) == [first]


def test_an_answer_has_marks_and_reports() -> None:
    found = parse_answer(answer("marks netns/a=17 link/b= link/c=3\nstarted 6.12\nread\n"))
    assert found is not None
    assert (found.reports, found.failure) == (b"started 6.12\nread\n", "")
    assert found.marks == {"netns/a": 17, "link/c": 3}


def test_an_answer_can_be_that_nothing_has_run() -> None:
    found = parse_answer(answer("failed /run/ipvkit cannot be written\n"))
    assert found is not None
    assert (found.reports, found.failure) == (b"", "/run/ipvkit cannot be written")


@pytest.mark.parametrize(
    "text", ["", "bash: gzip: command not found", "<ipvkit >", "<ipvkit AAAA>", "<ipvkit ===>"]
)
def test_what_is_no_answer_is_none(text: str) -> None:
    assert parse_answer(text) is None


class Host:
    """This machine as a host: its /run is a folder that ends with the test, and so is its /dev/shm.

    Others look in that of this machine for what their runs may have left.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shm").mkdir(exist_ok=True)
        self.number = 0

    def run(
        self,
        *words: str,
        lines: tuple[str, ...] = (),
        watched: tuple[str, ...] = (),
        needed: bool = True,
        run: str = "a",
        number: int | None = None,
        before: str = "",
    ) -> str:
        self.number += 1
        own = Round(words, 20, "lab", run, number or self.number, lines, needed, watched)
        mounts = f"mount --bind {self.folder}/shm /dev/shm; mount --bind {self.folder} /run"
        inside = f"{mounts}\n{before}\n{own.command()}"
        argv = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", inside]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        found = parse_answer(done.stdout)
        assert found is not None, done
        return found.failure or found.reports.decode()

    @property
    def journal(self) -> list[str]:
        return (self.folder / "ipvkit" / "lab.jsonl").read_text().splitlines()


@requires("namespaces")
def test_lines_are_in_the_journal_before_the_commands_run(tmp_path: Path) -> None:
    host = Host(tmp_path)
    reports = host.run(*row("0", "cat", "/run/ipvkit/lab.jsonl"), lines=('{"begin": []}',))
    header, line = host.journal
    assert {"schema", "pid", "started", "boot", "netns"} == json.loads(header).keys()
    assert f"{header}\n{line}\n" in reports
    assert (tmp_path / "ipvkit" / "lab.jsonl").stat().st_mode & 0o777 == 0o600


@requires("namespaces")
def test_without_lines_there_is_no_journal(tmp_path: Path) -> None:
    assert "hello" in Host(tmp_path).run(*row("0", "echo", "hello"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "shm"]


@requires("namespaces")
def test_where_the_journal_cannot_be_written_nothing_runs(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.run(*row("0", "true"), lines=("{}",))
    full = "mount -t tmpfs -o size=8k tmpfs /run; mkdir /run/ipvkit; cp /dev/zero /run/ipvkit/lab.jsonl"
    said = host.run(*row("0", "touch", str(tmp_path / "ran")), lines=("{}",), before=f"{full} 2>/dev/null")
    assert said == "/run/ipvkit/lab.jsonl cannot be written"
    assert not (tmp_path / "ran").exists()
    host.run(
        *row("0", "touch", str(tmp_path / "ran")), lines=("{}",), needed=False, before=f"{full} 2>/dev/null"
    )
    assert (tmp_path / "ran").exists()


@requires("namespaces")
def test_a_round_that_is_sent_again_does_not_run_again(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.run(*row("0", "true"), lines=("{}",))
    assert host.run(*row("0", "touch", "/run/again"), number=1) == "this round has run there already"
    assert not (tmp_path / "again").exists()
    assert "again" not in host.run(*row("0", "touch", "/run/other"), run="b", number=1)
    assert (tmp_path / "other").exists()


@requires("namespaces", "pkill")
def test_a_round_goes_on_where_its_connection_drops(tmp_path: Path) -> None:
    hang_up = 'pkill -HUP -P "$(cat /run/pid)" -x bash'
    reports = Host(tmp_path).run(*row("0", "sh", "-c", hang_up), before="echo $$ >/run/pid")
    assert "\n0 0 " in reports


SERVERS = "/run/ipvkit/lab.jsonl.servers"


def served(number: int, *argv: str) -> str:
    """Return the command of a round in which a server starts."""
    words, lines = row("0", *argv), ('{"begin": []}',)
    own = Round(words, 60, "lab", "a", number, lines, needed=True, servers="serve")
    return f"{own.command()} >/dev/null"


def kept(number: int, *argv: str) -> str:
    """Return the command of a round that lets servers run on."""
    return Round(row("1", *argv), 60, "lab", "a", number, servers="keep").command()


@requires("namespaces")
def test_servers_run_on_until_a_round_ends_them(tmp_path: Path) -> None:
    first = served(1, "sh", "-c", "echo $$ >/run/one; exec sleep 300")
    second = served(2, "sh", "-c", "echo $$ >/run/two; exec sleep 300")
    alive = kept(3, "sh", "-c", f"kill -0 $(cat /run/one) $(cat /run/two) && cp {SERVERS} /run/were")
    wait = "until [ -s /run/one ] && [ -s /run/two ]; do :; done"
    before = "; ".join((first, second, wait, f"{alive} >/run/answer"))
    reports = Host(tmp_path).run(*row("0", "test", "-e", SERVERS), before=before, number=4)
    assert "\n0 1 " in reports
    answer = parse_answer((tmp_path / "answer").read_text())
    assert answer is not None
    assert (b"\n1 0 " in answer.reports, answer.marks) == (True, {"servers": 1})
    were = [line.split() for line in (tmp_path / "were").read_text().splitlines()]
    assert [Path(place).parent for _, place in were] == [Path("/dev/shm")] * 2
    assert list((tmp_path / "shm").iterdir()) == []
    for name in ("one", "two"):
        stat = Path(f"/proc/{int((tmp_path / name).read_text())}/stat")
        assert not stat.exists() or ") Z " in stat.read_text()


@requires("namespaces")
def test_a_server_that_has_ended_is_reported(tmp_path: Path) -> None:
    ended = f"until flock --nonblock {SERVERS} true; do :; done"
    before = "; ".join(
        (served(1, "sh", "-c", "echo oops >&2; exit 3"), ended, f"{kept(2, 'true')} >/run/answer")
    )
    assert "\n0 0 " in Host(tmp_path).run(*row("0", "true"), before=before, number=3)
    answer = parse_answer((tmp_path / "answer").read_text())
    assert answer is not None
    assert (b"\n0 3 " in answer.reports, b"oops" in answer.reports, answer.marks) == (True, True, {})


@requires("namespaces")
def test_a_process_that_is_no_server_is_not_ended(tmp_path: Path) -> None:
    # Its number is in the list, as if a server had ended and the number were in use again.
    other = f"setsid sleep 300 & echo $! >/run/pid; echo $! /nonexistent >>{SERVERS}"
    before = "; ".join((served(1, "sleep", "300"), other))
    reports = Host(tmp_path).run(*row("0", "sh", "-c", "kill $(cat /run/pid)"), before=before, number=2)
    assert "\n0 0 " in reports
