"""Nothing that ipvkit prints holds a secret of the environment, of somebody else's process or of a file.

On this kernel, in namespaces that end with the test: a parent with a process beside it whose command
line is a secret, in a namespace that preflight looks into and names.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from namespaces import AS_ROOT
from requires import requires

SECRET = "s3cr3t-Pa55w0rd"  # noqa: S105

LAB = """\
name: secrets
about: two macvlan endpoints
parent: eth9
network: {host: 192.168.104.110/24, gateway: 192.168.104.254, neighbour: 192.168.104.111}
endpoints:
  - {name: mac1, addresses: 192.168.104.211/24}
  - {name: mac2, addresses: 192.168.104.212/24}
phases:
  - name: one
    kind: macvlan
    do: [{check: [{from: mac1, to: mac2, expect: EXPECTED}]}]
"""

SETUP = """\
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add eth9 type veth peer name sw
ip link set eth9 up
ip link set sw up
ip addr add 192.168.104.110/24 dev eth9
ip netns add taken
ip netns exec taken bash -c 'exec -a SECRET sleep 300' &
named=$!
unshare --net bash -c 'exec -a SECRET sleep 300' &
nameless=$!
trap 'kill $named $nameless' EXIT
for pid in $named $nameless; do
  # The words of a process are empty while it starts its program.
  for _ in {1..5000}; do
    [[ $(</proc/$pid/comm) == sleep ]] && grep -qs SECRET /proc/$pid/cmdline && continue 2
    sleep 0.01
  done
  echo "process $pid does not run sleep"; exit 1
done
link_in_nameless() {
  ip link add mv0 link eth9 type macvlan mode bridge
  ip link set mv0 netns $nameless
}
said() { printf 'code %s\\n' "$?"; }
"""


def seen(folder: Path, *lines: str, path: Path | None = None) -> str:
    """Return all that these lines of bash print, after `SETUP`, with a secret in every place."""
    home = folder / "home"
    home.mkdir()
    for name in (".netrc", ".env", "token"):
        (home / name).write_text(f"password {SECRET}\n")
    for name, expected in (("passes", "reachable"), ("fails", "unreachable")):
        (home / f"{name}.yaml").write_text(LAB.replace("EXPECTED", expected))
    (home / "taken.yaml").write_text(LAB.replace("mac1", "taken").replace("EXPECTED", "reachable"))
    ipvkit = f'ipvkit() {{ {shlex.quote(sys.executable)} -m ipvkit "$@"; }}\n'
    done = subprocess.run(
        [*AS_ROOT, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"],
        input=f"{ipvkit}{SETUP.replace('SECRET', SECRET)}" + "\n".join(lines),
        cwd=home,
        env={
            "PATH": os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(home),
            "SECRET_TOKEN": SECRET,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            f"TOKEN_{SECRET.replace('-', '_')}": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout


def assert_no_secret(text: str, *codes: int) -> None:
    """Check that there is no secret in what was printed, and how each command ended."""
    assert [int(line[5:]) for line in text.splitlines() if line.startswith("code ")] == list(codes), text
    assert SECRET not in text
    assert SECRET.replace("-", "_") not in text


@pytest.mark.promise
@pytest.mark.kernel
@requires("macvlan")
def test_a_run_that_passes_or_fails_tells_no_secret(tmp_path: Path) -> None:
    text = seen(
        tmp_path,
        "ipvkit --debug run-lab ./passes.yaml --parent eth9 --verbose --keep; said",
        "ipvkit status --json; said",
        "cat /run/ipvkit/*",
        "ipvkit down secrets; said",
        "ipvkit --debug run-lab ./fails.yaml --parent eth9 --json || said",
        "ipvkit status; said",
    )
    assert_no_secret(text, 0, 0, 0, 1, 0)
    assert '"begin"' in text, "the journal"


@pytest.mark.kernel
@requires("macvlan")
def test_a_command_that_fails_tells_no_secret(tmp_path: Path) -> None:
    """Not even one that prints its environment."""
    tools = tmp_path / "tools"
    tools.mkdir()
    real = subprocess.run(["/bin/sh", "-c", "command -v ip"], capture_output=True, text=True, check=True)
    (tools / "ip").write_text(
        '#!/bin/sh\ncase "$*" in "link set mac2 netns mac2") export -p >&2; exit 2 ;; esac\n'
        f'exec {real.stdout.strip()} "$@"\n'
    )
    (tools / "ip").chmod(0o755)
    text = seen(tmp_path, "ipvkit --debug run-lab ./passes.yaml --parent eth9 --json -v || said", path=tools)
    assert_no_secret(text, 4)
    assert "PATH=" in text


@pytest.mark.kernel
@requires("macvlan")
def test_processes_are_named_by_their_number_alone(tmp_path: Path) -> None:
    text = seen(
        tmp_path,
        "echo named $named nameless $nameless",
        "ipvkit --debug run-lab ./taken.yaml --parent eth9 --json || said",
        "link_in_nameless",
        "ipvkit --debug run-lab ./passes.yaml --parent eth9 || said",
        "ipvkit doctor --parent eth9 --mode l2 --address 192.168.104.211/24 --json || said",
    )
    assert_no_secret(text, 2, 3)
    _, named, _, nameless = text.splitlines()[0].split()
    assert f"network namespace taken already exists, with process {named} in it" in text
    assert f"macvlan link mv0 in the namespace of process {nameless}" in text


ONE_AFTER_ANOTHER = """
import sys
from ipvkit.cli import main
for line in sys.argv[1:]:
    print("code", main(["--debug", *line.split()]), flush=True)
"""


@pytest.mark.kernel
@requires("macvlan")
def test_what_only_looks_tells_no_secret(tmp_path: Path) -> None:
    lines = (
        "explain mac1 mac2 ./passes.yaml --json",
        "explain mac1 mac2 ./passes.yaml",
        "labs check ./passes.yaml",
        "export-script ./passes.yaml --parent eth9",
        "run-lab ./passes.yaml --parent eth9 --dry-run",
        "announce 192.168.104.211 --parent eth9 --unit",
        "link list --all --json",
        "addr list",
        "route list --json",
        "neigh list",
        "netns list --json",
        "ping 127.0.0.1 --count 1 --json",
    )
    text = seen(
        tmp_path, f"{shlex.quote(sys.executable)} -c {shlex.quote(ONE_AFTER_ANOTHER)} {shlex.join(lines)}"
    )
    assert_no_secret(text, *(0 for _ in lines))
