"""Hosts that are reached by ssh: namespaces with an sshd each, on a bridge of the controller's namespace."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from requires import requires

_START = """bash -c '/usr/sbin/sshd -f "$0.conf" -E "$0.log"'"""
"""Starts the sshd of a host; the name of its files without their endings follows."""

CONTROLLER = "192.168.104.254"
SECOND = "storage"
"""The second NIC of each host, on another bridge."""

_SECONDS = 300

_CONTROLLER = f"""\
mount --make-rprivate /
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add br0 type bridge
ip addr add {CONTROLLER}/24 dev br0
ip link set br0 up
ip link add br1 up type bridge
n=0
for host; do
  n=$((n + 1))
  ip netns add "$host"
  ip netns exec "$host" sysctl -qw net.ipv6.conf.default.accept_dad=0
  ip link add "$host" type veth peer name eth0 netns "$host"
  ip link set "$host" master br0 up
  ip -n "$host" addr add "192.168.104.$((120 + n))/24" dev eth0
  ip -n "$host" link set eth0 up
  ip link add "{SECOND}$n" master br1 up type veth peer name {SECOND} netns "$host"
  ip -n "$host" link set {SECOND} up
  ip -n "$host" link set lo up
  ip netns exec "$host" unshare --mount --pid --fork --kill-child --mount-proc \\
    bash -ec 'for place in /run /dev/shm ~root; do mount -t tmpfs tmpfs $place; done
      mkdir /run/sshd; ip netns add x; ip netns del x; "$@"; sleep 9999' \\
    "$PWD/$host" {_START} "$PWD/$host" &
done
trap 'kill -KILL $(jobs -p); wait' EXIT
echo ready
read -r _ || true
"""

_SSHD = """\
AuthorizedKeysFile {folder}/key.pub
HostKey {folder}/{host}
PermitRootLogin yes
PidFile none
StrictModes no
UsePAM no
"""

SNAPSHOT = """\
ip -d -j link; ip -j addr; ip -j route show table all; ip -j neigh show nud permanent
find /run/netns -mindepth 1; find /run/ipvkit /dev/shm/ipvkit.* 2>/dev/null
pgrep --runstates R,S,D --exact socat
exit 0
"""
"""What a host has, with names of namespaces and journals, and servers that run."""


needs_hosts = requires("root", "macvlan", "ssh", "sshd", "sysctl", "pgrep")


@dataclass
class Hosts:
    """Hosts with an sshd, and the process in whose namespaces the controller is."""

    names: tuple[str, ...]
    folder: Path
    controller: int

    def on_controller(self, *words: str) -> list[str]:
        """Return the argv that runs `words` on the controller."""
        return ["nsenter", f"--target={self.controller}", "--net", "--mount", f"--wdns={self.folder}", *words]

    def run_on(self, host: str, script: str) -> str:
        """Return what `script` prints on `host`; it does not need its sshd."""
        first = next(
            self._first(int(path.name)) for path in Path("/proc").glob("[0-9]*") if self._is(path, host)
        )
        words = ["nsenter", f"--target={first}", "--net", "--mount", "--pid", "bash", "-c", script]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout

    def _is(self, process: Path, host: str) -> bool:
        """Return whether `process` is the unshare that has started `host`."""
        words = _text(process / "cmdline").split("\0")
        return words[0] == "unshare" and str(self.folder / host) in words

    def _first(self, unshare: int) -> int:
        return int(_text(Path(f"/proc/{unshare}/task/{unshare}/children")).split()[0])

    def stop_ssh(self, host: str) -> None:
        """Kill the sshd of `host`, with all connections."""
        self.run_on(host, "kill -KILL $(pgrep sshd)")

    def start_ssh(self, host: str) -> None:
        """Start the sshd of `host` again."""
        self.run_on(host, f"{_START} {self.folder / host}")

    def snapshots(self) -> dict[str, str]:
        """Return what each host has."""
        return {host: self.run_on(host, SNAPSHOT) for host in self.names}

    @property
    def inventory(self) -> Path:
        """The inventory of the hosts."""
        return self.folder / "hosts.json"

    def start(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        """Start ipvkit on the controller."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **more}
        return subprocess.Popen(
            self.on_controller(sys.executable, "-m", "ipvkit", *arguments),
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Return what ipvkit does on the controller."""
        with self.start(*arguments, **more) as process:
            try:
                out, err = process.communicate(timeout=3 * _SECONDS)
            finally:
                process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextmanager
def hosts(
    names: Sequence[str] = ("h1", "h2", "h3"), variables: Mapping[str, Mapping[str, object]] | None = None
) -> Iterator[Hosts]:
    """Hold hosts that answer by ssh, with `variables` of each in the inventory."""
    # Short, since sockets of ssh are in it.
    with tempfile.TemporaryDirectory(prefix="fleet") as name:
        folder = Path(name)
        for key in ("key", *names):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(words, check=True, timeout=_SECONDS)
        known = []
        listed: dict[str, dict[str, object]] = {}
        for n, host in enumerate(names, 121):
            (folder / f"{host}.conf").write_text(_SSHD.format(folder=folder, host=host))
            known.append(f"192.168.104.{n} {(folder / f'{host}.pub').read_text()}")
            listed[host] = {"ansible_host": f"192.168.104.{n}", **(variables or {}).get(host, {})}
        (folder / "known").write_text("".join(known))
        options = f"-o UserKnownHostsFile={folder}/known -o GlobalKnownHostsFile=/dev/null"
        shared = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": f"{folder}/key",
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": "/nonexistent",
        }
        content = {"all": {"hosts": listed, "vars": shared}}
        (folder / "hosts.json").write_text(json.dumps(content))
        words = ["unshare", "--net", "--mount", "bash", "-ec", _CONTROLLER, "-", *names]
        with subprocess.Popen(
            words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                for host in names:
                    log = folder / f"{host}.log"
                    until(lambda log=log: "Server listening" in _text(log), _text(log))  # type: ignore[misc]
                yield Hosts(tuple(names), folder, process.pid)
            finally:
                process.communicate("", timeout=_SECONDS)
