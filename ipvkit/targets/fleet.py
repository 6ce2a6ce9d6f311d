"""`ansible`: hosts of an inventory of Ansible, on which commands run in rounds.

One ansible-playbook runs as long as the fleet is in use. Each of its tasks is a round: every host gets one
command, which runs what is to run there, and answers when all of that has ended. The playbook asks for these
commands, and sends the answers, through a socket in a private folder.
"""

import fcntl
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from shutil import copytree, rmtree
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import TYPE_CHECKING, Any, Self

from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError
from ipvkit.targets.agent import MAILBOX_BYTES, Started, Target
from ipvkit.targets.process import GRACE_S, Process, output_of
from ipvkit.targets.rounds import SERVING, Round, Servers, parse_answer, rows_of, split

if TYPE_CHECKING:
    from ipvkit.lab import Lab
    from ipvkit.plan.steps import Plan

_ROUNDS = 100
"""How many rounds one ansible-playbook has; another one follows."""

_QUIET_S = 0.03
"""How long a round waits for further hosts, in seconds."""

_SOCKET, _FOLDERS = "socket", "ipvkit-fleet-"
_MOST_FORKS = 50
_INVENTORY_S = 120.0

_ENDS_S, _RUNS_S = 60, 3600
"""How long a round of commands that end at once may take on a host, and another, in seconds."""

_NO_ENTRIES = '{"begin": []}'
"""The line of a journal that makes `cleanup` find a host on which a server may run."""

_OF_THE_USER = ("ANSIBLE_", "SSH_", "KRB5")
"""How the variables begin that Ansible and ssh get of this process."""


def _variables() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_USER)}
    # Ansible refuses a locale that is not UTF-8.
    return {**own, "LC_ALL": "C.UTF-8"}


def _ansible(*words: str) -> list[str]:
    """Return the argv of a command of ansible-core; raise MissingRequirement where that is not installed."""
    if find_spec("ansible") is None:
        what = "a fleet needs Ansible, which is not installed"
        raise MissingRequirement(what, "pip install 'ipvkit[fleet]'")
    # Python would warn those who cannot change it of what a next release of a library will lack.
    return [sys.executable, "-W", "ignore", "-m", "ansible", *words]


def inventory(paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the hosts of an inventory of Ansible, in its order, each with its variables.

    Raise MissingRequirement without Ansible, UsageError where it has none, CommandFailed where Ansible fails.
    """
    options = [word for path in paths for word in ("--inventory", path)]
    argv = _ansible("inventory", *options, "--list")
    done = output_of(argv, _INVENTORY_S, variables=_variables())
    said = done.stderr.strip()
    try:
        listed = json.loads(done.stdout)
        variables = listed["_meta"]["hostvars"]
    except (ValueError, KeyError, TypeError):
        what, typed = "the inventory cannot be read", " ".join(("ansible-inventory", *options, "--list"))
        raise CommandFailed(what, command=typed, stderr=said) from None
    found: dict[str, dict[str, Any]] = {}
    groups, seen = deque(["all"]), set()
    while groups:
        group = listed.get(groups.popleft(), {})
        found |= {name: dict(variables.get(name, {})) for name in group.get("hosts", ()) if name not in found}
        new = [child for child in group.get("children", ()) if child not in seen]
        seen.update(new)
        groups.extend(new)
    if not found:
        # Ansible only warns of a file that it cannot read.
        raise UsageError(
            "the inventory has no hosts", "give a file or folder that Ansible reads", stderr=said
        )
    return found


class Fleet(Target):
    """Hosts of the inventory `paths`, and the ansible-playbook with rounds on them.

    It starts with the first round, and ends with the `with` block.
    """

    kind = "ansible"
    ephemeral = False
    cpus = 1

    def __init__(self, paths: Sequence[str], names: Mapping[str, str], lab: str = "") -> None:
        """Start nothing yet; `names` are those of the inventory by machine.

        With a `lab`, rounds write its journal, and end its servers but their own.
        """
        self.paths, self.lab = tuple(paths), lab
        self.run = secrets.token_hex(8)
        self.hosts = {machine: FleetHost(self, name) for machine, name in names.items()}
        self._changed = threading.Condition()
        self._used: dict[str, _Rows] = {}
        self._playbook: _Playbook | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the playbook."""
        with self._changed:
            playbook = self._playbook
            if playbook is None:
                return
            playbook.over = True
            self._changed.notify_all()
        playbook.end(GRACE_S)

    def machines(self, _: "Lab", _tap: object = None) -> Mapping[str, Target]:
        """Return the hosts, by machine."""
        return self.hosts

    def start(self, *_: object) -> Started:
        """Raise TypeError: each of its hosts is a target."""
        raise TypeError("a fleet is its hosts")

    def join(self, rows: "_Rows") -> None:
        """Begin to use a host."""
        with self._changed:
            self._used[rows.host.name] = rows

    def leave(self, rows: "_Rows") -> None:
        """Use a host no longer; while a round runs there, end what runs on all of them."""
        with self._changed:
            if self._used.get(rows.host.name) is not rows:
                return
            del self._used[rows.host.name]
            playbook = self._playbook
            running = playbook is not None and rows.host.name in playbook.open
        if playbook is not None and running:
            playbook.end(0.0)

    def announce(self) -> None:
        """Let the playbook see that a host has something to run, and start it where it does not run."""
        with self._changed:
            if self._playbook is None:
                self._playbook = _Playbook(self)
                self._playbook.start()
            self._changed.notify_all()

    def next_round(self, playbook: "_Playbook") -> bool:
        """Wait until a host has something to run, and begin a round; return False at the end."""
        with self._changed:
            self._close_round(playbook, "ansible-playbook has not reported a result")
            while True:
                if playbook.over:
                    return False
                waiting = [name for name, rows in self._used.items() if rows.texts]
                if waiting and (len(waiting) == len(self._used) or not self._changed.wait(_QUIET_S)):
                    break
                if not waiting:
                    self._changed.wait()
            playbook.texts = {name: rows.texts.popleft() for name, rows in self._used.items() if rows.texts}
            playbook.open = {name: self._used[name] for name in playbook.texts}
            return True

    def answered(self, playbook: "_Playbook", found: Mapping[str, str]) -> None:
        """Pass on the result of a host."""
        with self._changed:
            rows = playbook.open.pop(found["host"], None)
        if rows is not None:
            rows.answered(found)

    def ended(self, playbook: "_Playbook", why: str) -> None:
        """Let another playbook run the rest where this was to end; else report that it was not run."""
        with self._changed:
            self._close_round(playbook, why)
            self._playbook = None
            waiting = [rows for rows in self._used.values() if rows.texts]
        if waiting and (playbook.over or playbook.asked > _ROUNDS):
            self.announce()
            return
        for rows in waiting:
            rows.end(why)

    def _close_round(self, playbook: "_Playbook", why: str) -> None:
        for rows in playbook.open.values():
            rows.end(why)
        playbook.open = {}


class _Playbook:
    """One ansible-playbook, and the round that it runs: its `texts`, and the hosts still to answer."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.texts: dict[str, str] = {}
        self.open: dict[str, _Rows] = {}
        self.over = False
        self.asked = 1
        """The number of the round that it asks for next."""
        self._process: Process | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start it in a separate thread, with which it would end."""
        self._thread.start()

    def end(self, grace_s: float) -> None:
        """Wait until it has ended, kill it after `grace_s` seconds."""
        self.over = True
        if threading.current_thread() is self._thread:
            return
        self._thread.join(grace_s)
        if self._thread.is_alive() and self._process is not None:
            self._process.terminate()
        self._thread.join(GRACE_S)

    def answer(self, question: Mapping[str, Any]) -> str:
        """Return the answer to a question of a plugin."""
        match question:
            case {"ask": "over", "round": int(number)}:
                if number == self.asked:
                    self.asked += 1
                    return "" if self.fleet.next_round(self) else "over"
                return "over" if self.over else ""
            case {"ask": "text", "host": str(name)}:
                return self.texts.get(name, "")
            case {"ask": "result", "host": str()}:
                self.fleet.answered(self, question)
        return ""

    def _run(self) -> None:
        said, why = b"", ""
        try:
            with _private_folder() as folder, _answering(folder, self.answer):
                argv, own = self._argv(Path(folder)), _variables()
                own |= {"ANSIBLE_STDOUT_CALLBACK": "ipvkit_results", "ANSIBLE_NOCOLOR": "1"}
                own |= {"IPVKIT_SOCKET": f"{folder}/{_SOCKET}"}
                self._process = Process(argv, variables=own, at_death=signal.SIGTERM)
                while chunk := self._process.read():
                    said = (said + chunk)[-4000:]
                self._process.kill()
                why = "\n".join((said.decode(errors="replace").strip(), self._process.complaint())).strip()
                self._process.close()
        except (IpvkitError, OSError) as problem:
            why = str(problem)
        self.fleet.ended(self, why or "ansible-playbook has ended")

    def _argv(self, folder: Path) -> list[str]:
        """Return the argv, after writing the playbook and its plugins into `folder`."""
        plugins = Path(__file__).parent / "plugins"
        for kind in ("lookup", "callback"):
            copytree(plugins / kind, folder / f"{kind}_plugins")
        path = folder / "rounds.yml"
        path.write_text(
            json.dumps([_play(host.name for host in self.fleet.hosts.values())]), encoding="utf-8"
        )
        most = str(min(len(self.fleet.hosts), _MOST_FORKS))
        forks = [] if "ANSIBLE_FORKS" in os.environ else ["--forks", most]
        options = [word for one in self.fleet.paths for word in ("--inventory", one)]
        return _ansible("playbook", *options, *forks, str(path))


def _play(names: Iterable[str]) -> dict[str, Any]:
    """Return the play with rounds as its tasks on the hosts `names`."""
    tasks: list[dict[str, Any]] = []
    for n in range(1, _ROUNDS + 1):
        over, text = (f"lookup('ipvkit_round', '{what}', {n})" for what in ("over", "text"))
        tasks.append(
            {"name": f"Ask for round {n}", "ansible.builtin.meta": "end_play", "when": f"{over} == 'over'"}
        )
        tasks.append(
            {
                "name": f"Round {n}",
                "ansible.builtin.raw": f"{{{{ {text} }}}}",
                "when": f"{text} != ''",
                "changed_when": False,
                "failed_when": False,
                "ignore_unreachable": True,
            }
        )
    play = {"name": "Rounds of ipvkit", "hosts": list(names), "gather_facts": False}
    return {**play, "strategy": "ansible.builtin.linear", "tasks": tasks}


@contextmanager
def _private_folder() -> Iterator[str]:
    """Make a folder for a socket, and remove those of killed processes: nothing locks them any more."""
    for former in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        # One without a socket may be locked in a moment.
        with suppress(OSError), _locked(former):
            if former.stat().st_uid == os.geteuid() and (former / _SOCKET).exists():
                rmtree(former)
    with tempfile.TemporaryDirectory(prefix=_FOLDERS) as folder, _locked(folder):
        yield folder


@contextmanager
def _locked(folder: Path | str) -> Iterator[None]:
    """Lock a folder, as long as this process lives; raise OSError where another one has."""
    opened = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


@contextmanager
def _answering(folder: str, answer: Callable[[Mapping[str, Any]], str]) -> Iterator[None]:
    """Answer each question, a line of JSON, at a socket in `folder`."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, ValueError):
                found = json.loads(self.rfile.readline())
                self.wfile.write(f"{json.dumps(answer(found))}\n".encode())

    with _Server(f"{folder}/{_SOCKET}", Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class FleetHost(Target):
    """A host of a fleet; `marks` are those of what was created there, by the names that a round has.

    It is `journaled` where there may be a journal.
    """

    kind = "ansible"
    ephemeral = False
    cpus = 4

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.marks: Mapping[str, int] = {}
        self.journaled = False
        self._number = 0
        self._lines: list[str] = []
        self._needed = False
        self._watched: dict[str, None] = {}

    @property
    def delay_s(self) -> float:  # type: ignore[override]
        """How long a command, and its result, may be on their way: so many hosts are reached at once."""
        return 60.0 * (1 + len(self.fleet.hosts) // _MOST_FORKS)

    def require(self, *_: str) -> None:
        """Do nothing: what is missing there shows there."""

    def record(self, line: str, *, needed: bool) -> None:
        """Have the next round append `line` to the journal there, or run nothing if it is `needed`."""
        self._lines.append(line)
        self._needed |= needed
        self.journaled = True

    def watch(self, names: Iterable[str]) -> None:
        """Have each round look in the end for the marks of these, ``link/NAME`` and ``netns/NAME``."""
        self._watched |= dict.fromkeys(names)

    def start(self, _: str, plan: "Plan | None" = None, mailbox: int | None = None) -> "_Rows":  # noqa: ARG002
        """Begin to use the host."""
        if mailbox is None:
            raise ValueError("a host of a fleet takes its commands from a mailbox")
        return _Rows(self, mailbox)

    def files(self, slot: int) -> tuple[str, str]:
        """Return the paths of the files for stdout and stderr of a row, in the folder of a round."""
        return f"{slot}.out", f"{slot}.err"

    def rounds(self, words: Sequence[str], seconds: int, servers: Servers = "end") -> list[str]:
        """Return the commands that run `words` there, each in a round: several where one would be too long.

        Raise CommandFailed where a row is too long.
        """
        if servers == "serve":
            self.record(_NO_ENTRIES, needed=True)
        self._number += 1
        lines, watched, fleet = tuple(self._lines), tuple(self._watched), self.fleet
        about = (fleet.lab, fleet.run, self._number, lines, self._needed, watched)
        own = Round(tuple(words), seconds, *about, servers)
        try:
            found = [own.command()]
        except CommandFailed:
            halves = list(split(words))
            if len(halves) < 2:
                raise
            return [text for half in halves for text in self.rounds(half, seconds, servers)]
        self._lines, self._needed = [], False
        return found


class _Rows:
    """What stands for the process of an agent: it passes on the requests and the reports of agent.bash."""

    def __init__(self, host: FleetHost, mailbox: int) -> None:
        self.host, self._mailbox = host, mailbox
        self.texts: deque[str] = deque()
        self._news: SimpleQueue[bytes] = SimpleQueue()
        self._complaint = ""
        self._servers: dict[int, str] = {}
        """The keys of the servers that run there, by their rows."""
        self._keeps = False
        """Whether these run on."""
        self._news.put(b"started\n")
        host.fleet.join(self)

    def write(self, data: bytes) -> None:
        """Take a request: what is to run is run in a round, and of this only servers are stopped then."""
        verb, *arguments = data.decode().split()
        number = int(arguments[0]) if arguments else 0
        if verb in ("stop", "end") and self._keeps and number in self._servers:
            # Those of a host are stopped together.
            self._keeps = False
            self._run((), _ENDS_S, "end")
        elif verb in ("run", "now", "serve"):
            content = os.pread(self._mailbox, MAILBOX_BYTES, 0).split(b"\n", number)
            words = [word.decode() for word in content[:number]]
            if verb == "serve":
                self._servers |= {int(row[1]): row[4] for row in rows_of(words)}
                self._keeps = True
            servers: Servers = "serve" if verb == "serve" else "keep" if self._keeps else "end"
            self._run(words, _ENDS_S if verb == "now" else _RUNS_S, servers)

    def _run(self, words: Sequence[str], seconds: int, servers: Servers) -> None:
        try:
            self.texts.extend(self.host.rounds(words, seconds, servers))
        except CommandFailed as problem:
            self.end(problem.message)
            return
        self.host.fleet.announce()

    def read(self) -> bytes:
        """Return the next reports, empty at the end."""
        return self._news.get()

    def complaint(self) -> str:
        """Return why it has ended."""
        return self._complaint

    def answered(self, found: Mapping[str, str]) -> None:
        """Take the result of a round."""
        answer = parse_answer(found["stdout"])
        if answer is None:
            said = (" ".join(found[key].split()) for key in ("msg", "stderr", "stdout"))
            why = next(filter(None, said), "it has not answered")
            self.end(why.removeprefix("Task failed: "))
        elif answer.failure:
            self.end(answer.failure)
        else:
            self.host.marks = answer.marks
            reports = answer.reports
            if SERVING not in answer.marks:
                # Those that have not reported how they ended were killed.
                reports += b"".join(b"%s 137 0 0 0\n" % key.encode() for key in self._servers.values())
                self._servers, self._keeps = {}, False
            self._news.put(reports)

    def end(self, why: str) -> None:
        """Report nothing more, for the reason `why`."""
        self._complaint = f"{self.host.name}: {why}"
        self.texts.clear()
        self._news.put(b"")

    def kill(self) -> None:
        """End it, and what runs there now."""
        self.host.fleet.leave(self)
        self.end("the commands were ended")

    def close(self) -> None:
        """Do nothing: it has no pipes."""
