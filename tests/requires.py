"""What a test needs besides Python packages: programs, files, and what not every machine gives.

The mark `requires` skips a test where something is missing; its reason has the line that installs it.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from ipvkit.targets import programs
from ipvkit.targets.kernels import MODULES
from ipvkit.verbs.kernels import KEYRINGS
from namespaces import AS_ROOT, IN_NAMESPACES_OF_ITS_OWN

PACKAGES = {
    **programs.PACKAGES,
    **dict.fromkeys(map(str, KEYRINGS), "debian-archive-keyring"),
    str(MODULES): "user-mode-linux",
    "chromium": "chromium",
    "git": "git",
    "mmdebstrap": "mmdebstrap",
    "pgrep": "procps",
    "pkill": "procps",
    "shellcheck": "shellcheck",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "systemd-analyze": "systemd",
    "/usr/bin/busybox": "busybox-static",
    "/usr/bin/containerd": "containerd",
    "/usr/bin/crun": "crun",
    "/usr/bin/curl": "curl",
    "/usr/bin/docker": "docker-cli",
    "/usr/bin/lxc-start": "lxc",
    "/usr/bin/podman": "podman",
    "/usr/lib/cni/ipvlan": "containernetworking-plugins",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/systemd/systemd-networkd": "systemd",
    "/usr/libexec/docker/cli-plugins/docker-compose": "docker-compose",
    "/usr/libexec/incus/incusd": "incus-base",
    "/usr/sbin/NetworkManager": "network-manager",
    "/usr/sbin/dockerd": "docker.io",
    "/usr/sbin/ifup": "ifupdown",
}
"""The Debian package of each program, or of a file that has to be where it is."""

APT = "apt install "


@dataclass(frozen=True, slots=True)
class Condition:
    """What no program shows by being installed: `programs` are needed to find out whether it `holds`."""

    reason: str
    programs: tuple[str, ...]
    holds: Callable[[], bool]


@cache
def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


_LINKS = "ip link add eth9 type veth peer name eth8 && ip link add eth7 link eth9 type macvlan"

CONDITIONS = {
    "root": Condition("needs root", (), lambda: os.geteuid() == 0),
    "icmp": Condition(
        "needs the right to ping", ("ping",), lambda: _succeeds("ping", "-c", "1", "127.0.0.1")
    ),
    "namespaces": Condition(
        "needs a kernel that gives users namespaces",
        ("unshare", "mount"),
        lambda: _succeeds(*IN_NAMESPACES_OF_ITS_OWN, "mount", "-t", "tmpfs", "tmpfs", "/run"),
    ),
    "macvlan": Condition(
        "needs macvlan links in new namespaces",
        ("unshare", "mount", "bash", "ip"),
        lambda: _succeeds(
            *AS_ROOT, "--net", "--mount", "bash", "-c", f"mount -t tmpfs tmpfs /run && {_LINKS}"
        ),
    ),
    "ruff": Condition("pip install -e '.[check]'", (), lambda: find_spec("ruff") is not None),
    "playwright": Condition("pip install -e '.[slow]'", (), lambda: find_spec("playwright") is not None),
    "twine": Condition("pip install -e '.[slow]'", (), lambda: find_spec("twine") is not None),
}


def lacking(*names: str) -> str:
    """Return what this machine lacks of programs, files and conditions: the reason of a skip, or nothing."""
    conditions = [CONDITIONS[name] for name in names if name in CONDITIONS]
    needed = {name for name in names if name not in CONDITIONS}
    needed.update(program for condition in conditions for program in condition.programs)
    absent = {name for name in needed if not _is_here(name)}
    packages = sorted({PACKAGES[name] for name in absent})
    reasons = [APT + " ".join(packages)] if packages else []
    # Whether a condition holds is not known without its programs.
    checked = (condition for condition in conditions if absent.isdisjoint(condition.programs))
    return "; ".join([*reasons, *(condition.reason for condition in checked if not condition.holds())])


def _is_here(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else programs.find_program(name) is not None


def requires(*names: str) -> pytest.MarkDecorator:
    """Return the mark of a test that is skipped where this machine lacks one of `names`."""
    reason = lacking(*names)
    return pytest.mark.skipif(bool(reason), reason=reason)


def skip_without(what: str) -> NoReturn:
    """Skip the test that runs, which found that this machine lacks `what`."""
    # What is reported is the place in the test.
    __tracebackhide__ = True
    pytest.skip(f"needs {what}")


def summary(reasons: Sequence[str]) -> str:
    """Return the line on skipped tests: how many, what to install, and what else how many of them need."""
    parts = [part for reason in reasons for part in reason.split("; ")]
    packages = {name for part in parts if part.startswith(APT) for name in part.removeprefix(APT).split()}
    others = Counter(part for part in parts if not part.startswith(APT))
    what = [APT + " ".join(sorted(packages))] if packages else []
    what += [f"{part} ({count})" for part, count in others.most_common()]
    return f"{len(reasons)} skipped: {'; '.join(what)}"
