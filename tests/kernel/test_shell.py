"""`ipvkit shell`: on a uml kernel, and in a sandbox inside of one."""

import hashlib
import json
import os
import random
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import wait_until
from guest import in_guest
from program import AS_A_USER, Program
from requires import skip_without
from terminal import BOUND_S, PROMPT, Terminal, use

ON_UML = ("shell", "--target", "uml")

Ended = tuple[int, bytes, str]
"""An exit code, what was printed, and what was said on stderr."""


def assert_nothing_is_left(program: Program) -> None:
    wait_until(lambda: not program.left_processes())
    assert program.left_files() == []


def argv(program: Program, *words: str) -> list[str]:
    return [*program.python, "-m", "ipvkit", *words]


def shell(program: Program, *words: str, stdin: bytes = b"") -> Ended:
    """Run ``ipvkit shell --target uml WORDS``, which is to leave nothing."""
    ended = run(program, *ON_UML, *words, stdin=stdin)
    assert_nothing_is_left(program)
    return ended


def run(program: Program, *words: str, stdin: bytes = b"") -> Ended:
    done = subprocess.run(
        argv(program, *words),
        cwd=program.places[2],
        env=program.environment,
        input=stdin,
        capture_output=True,
        timeout=BOUND_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode()


class Started:
    """``ipvkit shell`` that is at work on a script, with pipes to read from."""

    def __init__(self, program: Program, script: str, *words: str) -> None:
        file = program.folder / "script"
        file.write_text(script)
        self.process = subprocess.Popen(
            argv(program, *ON_UML, *words, str(file)),
            cwd=program.places[2],
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for(self, output: bytes) -> None:
        """Read `output`, which has to come while the script runs."""
        assert self.process.stdout is not None
        seen, deadline = b"", time.monotonic() + BOUND_S
        while seen != output:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 1) if ready else b""
            assert chunk, f"{output!r} did not come, but {seen!r}"
            seen += chunk

    def end(self) -> Ended:
        stdout, stderr = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, stdout, stderr.decode()


# --- a script ---------------------------------------------------------------------------------------------

SPOKEN = "echo one; echo two >&2; ls /no/such; echo 'three\t\N{EURO SIGN}'; printf 'no end of line'; exit 7\n"


@pytest.mark.parametrize(
    "way",
    [pytest.param("file", marks=pytest.mark.promise), "-", pytest.param("pipe", marks=pytest.mark.slow)],
)
def test_a_script_is_run_and_its_output_and_exit_code_are_those_of_bash(program: Program, way: str) -> None:
    (program.folder / "a script").write_text(SPOKEN)
    words = {"file": [str(program.folder / "a script")], "-": ["-"], "pipe": []}[way]
    code, stdout, stderr = shell(program, *words, stdin=b"" if way == "file" else SPOKEN.encode())
    here = subprocess.run(
        ["/bin/bash"],
        input=SPOKEN.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        check=False,
    )
    assert here.returncode == 7
    assert (code, stdout, stderr) == (7, here.stdout, "")


@pytest.mark.parametrize(
    ("script", "exit_code", "output"),
    [
        pytest.param("", 0, "", marks=pytest.mark.slow),
        pytest.param("echo a; false", 1, "a\n", marks=pytest.mark.slow),
        ("cat <(echo a) /dev/stdin <<<b && echo c >/dev/stderr", 0, "a\nb\nc\n"),
        pytest.param("echo a; exit 255", 255, "a\n", marks=pytest.mark.slow),
        pytest.param("echo a; kill -INT $$; echo b", 130, "a\n", marks=pytest.mark.slow),
        ("echo a; kill -KILL $$; echo b", 137, "a\n"),
        # What ends its whole process group ends no more than the script.
        ("trap 'kill 0' EXIT; sleep 1000 & echo a", 143, "a\n"),
        # What is left running does not hold the end up.
        ("sleep 1000 & setsid sleep 1000 & echo a; exit 3", 3, "a\n"),
        (
            "read -r line; echo $? \"$line\"; test -t 1 || test -t 2 || echo 'no terminal'",
            0,
            "1 \nno terminal\n",
        ),
    ],
)
def test_a_script_ends_as_it_does_elsewhere(
    program: Program, script: str, exit_code: int, output: str
) -> None:
    assert shell(program, "-", stdin=script.encode()) == (exit_code, output.encode(), "")


@pytest.mark.parametrize("who", ["program", "users_program"])
def test_a_script_is_run_by_root_on_the_simulated_lan(request: pytest.FixtureRequest, who: str) -> None:
    program: Program = request.getfixturevalue(who)
    script = """\
id -u
ip -brief -4 address show eth0 | grep --only-matching '192[^ ]*'
for peer in 192.168.104.254 192.168.104.111; do
  ping -c 1 -W 5 -q $peer | grep --only-matching '1 received'
done
ip link add ipv0 link eth0 type ipvlan mode l3s && ip -d link show ipv0 | grep --only-matching 'mode l3s'
"""
    said = "0\n192.168.104.110/24\n1 received\n1 received\nmode l3s\n"
    assert shell(program, stdin=script.encode()) == (0, said.encode(), "")


@pytest.mark.parametrize("who", ["program", "users_program"])
def test_a_script_writes_to_folders_of_its_own_only(request: pytest.FixtureRequest, who: str) -> None:
    program: Program = request.getfixturevalue(who)
    places = ["/etc", *map(str, program.places)]
    script = f"""\
for place in {" ".join(places)}; do touch $place/ipvkit-was-here; done
echo "$HOME $TMPDIR $PWD" && touch ~/a $TMPDIR/b c && mktemp >/dev/null && echo written
"""
    said = [f"touch: cannot touch '{place}/ipvkit-was-here': Read-only file system" for place in places]
    code, stdout, stderr = shell(program, stdin=script.encode())
    assert stdout.decode().splitlines() == [*said, "/run /run /run", "written"]
    assert (code, stderr) == (0, "")
    assert not Path("/etc/ipvkit-was-here").exists()


@pytest.mark.parametrize("who", ["program", "users_program"])
def test_ipvkit_itself_is_there(request: pytest.FixtureRequest, who: str) -> None:
    if who == "users_program" and "--ambient-caps" in AS_A_USER:
        skip_without("a Python that other users can start")
    program: Program = request.getfixturevalue(who)
    script = b"ipvkit netns add test1 && ipvkit netns list --json"
    code, stdout, stderr = run(program, "shell", stdin=script)
    assert_nothing_is_left(program)
    assert code == 0
    assert re.fullmatch(r"target: (sandbox|uml, since .*)\n", stderr)
    names = {namespace["name"] for namespace in json.loads(stdout)["namespaces"]}
    assert names == {"switch", "gateway", "neighbour", "test1"}


LINKS = {
    "ipvlan": "--link eth0 --mode l3s --flag private",
    "macvlan": "--link eth0 --type macvlan",
    "vlan": "--link eth0 --type vlan --id 5",
    "veth": "--type veth --peer x --peer-netns gateway",
    "bridge": "--type bridge",
}
"""Each kind of link that `ipvkit link add` makes, and what it takes."""


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("ipvlan", "veth") else pytest.param(kind, marks=pytest.mark.slow) for kind in LINKS],
)
def test_each_kind_of_link_can_be_made_there(program: Program, kind: str) -> None:
    script = f"ipvkit link add one {LINKS[kind]} && ipvkit link list one --json"
    code, output, said = shell(program, stdin=script.encode())
    assert (code, said) == (0, "")
    (link,) = json.loads(output)["links"]
    assert (link["ifname"], link["kind"]) == ("one", kind)
    if kind == "ipvlan":
        assert (link["parent"], link["mode"], link["flag"]) == ("eth0", "l3s", "private")


def test_a_long_script_comes_in_whole(program: Program) -> None:
    source = random.Random(1)
    letters = "abc '\"\\$`!#*\t\N{EURO SIGN}\N{GRINNING FACE}"
    text = "".join("".join(source.choices(letters, k=60)) + "\n" for _ in range(14_000))
    script = f"sha256sum <<'THE END'\n{text}THE END\n".encode()
    assert len(script) > 1_000_000
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert shell(program, "-", stdin=script) == (0, f"{digest}  -\n".encode(), "")


def test_much_output_of_any_bytes_comes_out_whole(program: Program) -> None:
    data = bytes(range(256)) + b"\r\n\r\r\n\n\r\x1e\x1e" + random.Random(2).randbytes(5_000_000) + b"\r"
    (program.folder / "data").write_bytes(data)
    script = f"cat {shlex.quote(str(program.folder / 'data'))}"
    code, stdout, stderr = shell(program, "-", stdin=script.encode())
    assert (code, stderr) == (0, "")
    assert stdout == data


def test_output_that_looks_like_the_end_is_output(program: Program) -> None:
    # What the guest was given holds the mark in some form; what is shown of it ends nothing.
    script = (
        f"printf '\\036{'0' * 32} 0\\n\\036{'f' * 32} begin\\n\\036'\n"
        "tr -d '\\0' </dev/ubda; cat /proc/*/cmdline | tr '\\0' ' '; echo; cat /run/commands; exit 5"
    )
    code, stdout, stderr = shell(program, "-", stdin=script.encode())
    assert (code, stderr) == (5, "")
    assert stdout.startswith(f"\x1e{'0' * 32} 0\n\x1e{'f' * 32} begin\n\x1e".encode())
    assert stdout.count(script.encode()) == 1
    assert stdout.endswith(script.encode())


# --- what ends it early -----------------------------------------------------------------------------------


def test_output_comes_as_it_is_printed(program: Program) -> None:
    go = program.folder / "go"
    script = f"printf 'a line without'; until test -e {go}; do sleep 0.05; done; echo ' end'"
    started = Started(program, script)
    started.wait_for(b"a line without")
    go.touch()
    started.wait_for(b" end\n")
    assert started.end() == (0, b"", "")
    assert_nothing_is_left(program)


def test_time_is_bounded(program: Program) -> None:
    said = "error: the script did not end in time\nhint: raise --timeout\n"
    assert shell(program, "--timeout", "2", "-", stdin=b"sleep 1000") == (4, b"", said)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_ends_it_all(program: Program, name: str) -> None:
    started = Started(program, "setsid sleep 1000 & printf begun; sleep 1000")
    started.wait_for(b"begun")
    started.process.send_signal(signal.Signals[name])
    interrupted = f"error: interrupted by {name}\nhint: the target has ended, with everything in it\n"
    assert started.end() == ((-9, b"", "") if name == "SIGKILL" else (130, b"", interrupted))
    assert_nothing_is_left(program)


@pytest.mark.parametrize("how", ["echo o >/proc/sysrq-trigger", "kill -KILL -1"])
def test_a_target_that_ends_early_is_told_in_a_line(program: Program, how: str) -> None:
    go = program.folder / "go"
    started = Started(
        program, f"echo begun; until test -e {shlex.quote(str(go))}; do sleep 0.05; done; {how}; sleep 1000"
    )
    started.wait_for(b"begun\n")
    go.touch()
    hint = "hint: the script may have powered it off, or killed all processes\n"
    assert started.end() == (4, b"", f"error: the target uml ended before the script did\n{hint}")
    assert_nothing_is_left(program)


@pytest.mark.parametrize("script", ["yes", "echo y; seq 100000; sleep 1000"])
def test_a_reader_that_goes_ends_it_all(program: Program, script: str) -> None:
    started = Started(program, script)
    started.wait_for(b"y\n")
    assert started.process.stdout is not None
    started.process.stdout.close()
    assert started.process.wait(BOUND_S) == 128 + signal.SIGPIPE
    assert started.process.stderr is not None
    assert started.process.stderr.read() == b""
    started.process.stderr.close()
    assert_nothing_is_left(program)


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (["--target", "local"], b"echo a", "--target local has no simulated LAN"),
        (["--target", "local", "/no/such"], b"", "--target local has no simulated LAN"),
        (["/no/such"], b"", "'/no/such' cannot be read: No such file or directory"),
        (["/etc"], b"", "'/etc' cannot be read: Is a directory"),
        ([""], b"echo a", "'' cannot be read: Is a directory"),
        ([], b"echo \xff", "'-' cannot be read: not UTF-8 text"),
        (["--timeout", "0"], b"echo a", "Invalid value for '--timeout'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    program: Program, words: list[str], stdin: bytes, says: str
) -> None:
    program.environment["LC_ALL"] = "C"
    code, stdout, stderr = run(program, "shell", *words, stdin=stdin)
    assert (code, stdout) == (2, b"")
    first, *rest = stderr.splitlines()
    assert first.startswith(f"error: {says}")
    assert all(line.startswith("hint: ") for line in rest)
    assert len(rest) <= 1


# --- a person's terminal ----------------------------------------------------------------------------------


def terminal(program: Program) -> Terminal:
    """Open a shell on a terminal, and wait for its prompt."""
    opened = Terminal(argv(program, *ON_UML), cwd=program.places[2], env=program.environment)
    opened.until(PROMPT)
    return opened


@pytest.mark.promise
@pytest.mark.parametrize("who", ["program", "users_program"])
def test_a_person_has_a_whole_shell(request: pytest.FixtureRequest, who: str) -> None:
    program: Program = request.getfixturevalue(who)
    use(argv(program, *ON_UML), cwd=program.places[2], env=program.environment, exits=0)
    assert_nothing_is_left(program)


@pytest.mark.parametrize("busy", [False, True])
def test_a_terminal_that_is_closed_ends_it_all(program: Program, busy: bool) -> None:
    with terminal(program) as opened:
        if busy:
            opened.begins_sleeping()
        assert program.left_processes() != []
        opened.close()
        assert_nothing_is_left(program)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_all_and_leaves_the_terminal_as_it_was(program: Program, name: str) -> None:
    with terminal(program) as opened:
        opened.begins_sleeping()
        os.kill(opened.pid, signal.Signals[name])
        opened.until(f"error: interrupted by {name}\nhint: the target has ended, with everything in it\n")
        assert opened.ended() == "130, settings kept."
    assert_nothing_is_left(program)


def test_killed_it_leaves_no_process_and_no_file(program: Program) -> None:
    with terminal(program) as opened:
        os.kill(opened.pid, signal.SIGKILL)
        opened.until("ended with 137")
    assert_nothing_is_left(program)


def test_a_kernel_that_is_switched_off_ends_it(program: Program) -> None:
    with terminal(program) as opened:
        opened.type("echo o >/proc/sysrq-trigger\n")
        assert opened.ended() == "0, settings kept."
    assert_nothing_is_left(program)


# --- the sandbox, in a guest: a kernel with ipvlan ---------------------------------------------------------

IPVKIT = f"{sys.executable} -m ipvkit"
A_USER = shlex.join(AS_A_USER)
SHOW = "ip -br link; ip -br addr; ip netns list; ls /run/netns; ps -N --ppid 2 -o comm= | sort"


def in_the_same_guest_before_and_after(script: str, *, fresh: bool = False) -> tuple[int, str]:
    """Run `script` in a guest, and find that it leaves the network, the processes and /run as they were."""
    said = in_guest(
        f"mkdir -m 777 /run/cwd; cd /run/cwd; ({SHOW}) >/run/before\n"
        f"({script}\n); code=$?\n"
        f"for i in $(seq 2000); do ({SHOW}) >/run/after; cmp -s /run/before /run/after && break; done\n"
        "diff /run/before /run/after && [[ -z $(ls /run/cwd) ]] && exit $code",
        fresh=fresh,
    )
    return said.exit_code, said.output


@pytest.mark.parametrize("user", [pytest.param("", marks=pytest.mark.slow), A_USER])
def test_a_script_in_a_sandbox(user: str) -> None:
    script = (
        "id -u; ping -c 1 -W 5 -q 192.168.104.111 | grep --only-matching '1 received'; ip netns add test1\n"
        "ip link add ipv0 link eth0 type ipvlan mode l3; ip -d link show ipv0 | grep -o 'mode l3'\n"
        "ps -o args= $$; touch ~/a $TMPDIR/b c && ls; sleep 1000 & setsid sleep 1000 & exit 7"
    )
    code, output = in_the_same_guest_before_and_after(
        f"{user} env HOME=/run/cwd {IPVKIT} shell --target sandbox - <<'END'\n{script}\nEND"
    )
    assert code == 7, output
    assert output.splitlines() == [
        "0",
        "1 received",
        "mode l3",
        "bash /run/commands",
        *("a", "b", "c", "commands", "netns"),
    ]


def test_a_signal_ends_a_sandbox() -> None:
    code, output = in_the_same_guest_before_and_after(
        "mkfifo /run/told; for name in INT TERM HUP KILL; do\n"
        # bash starts background commands with ^C ignored; ipvkit must not inherit that here.
        f"env --default-signal=INT {IPVKIT} shell --target sandbox - >/run/told 2>&1 <<'END' &\n"
        "setsid sleep 1000 & sleep 1000 & echo begun; wait\nEND\n"
        "exec 3<>/run/told; read -r -t 60 line <&3; kill -$name $!; { wait $!; code=$?; } 2>/dev/null\n"
        "echo $name $code; echo $line; while read -r -t 0.5 line <&3; do echo $line; done\n"
        "for i in $(seq 2000); do pgrep -x sleep >/run/left || break; sleep 0.05; done; cat /run/left\n"
        "done; rm /run/told"
    )
    interrupted = [
        f"{name} 130\nbegun\nerror: interrupted by SIG{name}\n"
        "hint: the target has ended, with everything in it\n"
        for name in ("INT", "TERM", "HUP")
    ]
    assert (code, output) == (0, "".join(interrupted) + "KILL 137\nbegun\n")


@pytest.mark.parametrize(
    "does",
    [
        "from terminal import use\nuse(argv, cwd='/run/cwd', env=os.environ, exits=5)\n",
        "import signal\n"
        "from terminal import PROMPT, Terminal\n"
        "with Terminal(argv, cwd='/run/cwd', env=os.environ) as terminal:\n"
        "    terminal.until(PROMPT)\n"
        "    terminal.begins_sleeping()\n"
        "    os.kill(terminal.pid, signal.SIGTERM)\n"
        "    assert terminal.ended() == '130, settings kept.'\n",
    ],
    ids=["whole shell", "ended by a signal"],
)
def test_a_person_has_a_shell_in_a_sandbox(does: str) -> None:
    code, output = in_the_same_guest_before_and_after(
        "mkdir -p /dev/pts; mount -t devpts devpts /dev/pts\n"
        f"cd {shlex.quote(str(Path(__file__).parent))}\n"
        f"PYTHONDONTWRITEBYTECODE=1 {sys.executable} - <<'END'\n"
        "import os, sys\n"
        "argv = [sys.executable, '-m', 'ipvkit', 'shell', '--target', 'sandbox']\n"
        f"{does}END"
    )
    assert (code, output) == (0, "")


def test_a_sandbox_is_refused_where_the_kernel_has_no_ipvlan() -> None:
    code, output = in_the_same_guest_before_and_after(
        "echo /bin/false >/proc/sys/kernel/modprobe; rmmod ipvlan\n"
        f"echo 'echo a' | {IPVKIT} shell --target sandbox",
        fresh=True,
    )
    assert code == 3
    assert re.fullmatch(r"error: this kernel has no ipvlan\nhint: .*\n", output)
