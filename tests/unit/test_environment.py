"""What commands are given of this process's environment, and the folders that root runs programs from."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from ipvkit.core.command import Command
from ipvkit.core.errors import MissingRequirement
from ipvkit.host.program import closed_folder
from ipvkit.targets import ipvlan
from ipvkit.targets.kernels import MODULES, Kernel
from ipvkit.targets.programs import PASSED_ON, SEARCH_PATH, environment, find_program, require, roots_folders
from ipvkit.targets.uml import _block_device, guest_of
from ipvkit.verbs.single import execute
from requires import requires

NOBODY = 65534


@pytest.fixture
def as_root() -> Iterator[None]:
    """Have ipvkit take this process for root's, whoever runs the tests."""
    with patch("os.getresuid", lambda: (0, 0, 0)):
        yield


def folder_with_ip(folder: Path) -> Path:
    """Make a folder in which `ip` is a program that says it was started."""
    folder.mkdir(parents=True)
    (folder / "ip").write_text("#!/bin/sh\necho started the wrong one\n")
    (folder / "ip").chmod(0o755)
    return folder


def of_somebody_else(folder: Path) -> Path:
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    return folder


def given_away(folder: Path) -> Path:
    return of_somebody_else(folder_with_ip(folder))


def with_mode(mode: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder_with_ip(folder)
        if os.geteuid() == 0:
            os.chown(folder, 0, NOBODY)
        folder.chmod(mode)
        return folder

    return make


def in_somebody_elses(folder: Path) -> Path:
    inner = folder_with_ip(folder / "bin")
    of_somebody_else(folder)
    return inner


def in_one_of_all(folder: Path) -> Path:
    inner = folder_with_ip(folder / "bin")
    folder.chmod(0o777)
    return inner


def linked(folder: Path) -> Path:
    """Make a link in a folder of root's to a folder that is not."""
    link = folder.with_name("link")
    link.symlink_to(given_away(folder))
    return link


OTHERS_CAN_WRITE: dict[str, Callable[[Path], Path]] = {
    "somebody else's": given_away,
    "of a group": with_mode(0o775),
    "of all": with_mode(0o757),
    "of all, sticky": with_mode(0o1777),
    "in somebody else's": in_somebody_elses,
    "in one of all": in_one_of_all,
    "through a link": linked,
}


@requires("ip")
@pytest.mark.parametrize("make", OTHERS_CAN_WRITE.values(), ids=OTHERS_CAN_WRITE)
@pytest.mark.usefixtures("as_root")
def test_root_runs_nothing_from_a_folder_that_others_can_write(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "folder")
    assert (folder / "ip").exists()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert str(folder) not in environment()["PATH"].split(os.pathsep)
    assert find_program("ip") not in (None, str(folder / "ip"), str((folder / "ip").resolve()))
    said = execute([Command(("ip", "-V"))], 60)[0].stdout
    assert "wrong one" not in said
    assert said.startswith("ip utility")


@pytest.mark.parametrize("entry", [".", "", "bin", "./bin", "../x/bin", "~/bin"])
@pytest.mark.usefixtures("as_root")
def test_root_runs_nothing_from_where_it_happens_to_be(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_with_ip(tmp_path / "x" / "bin")
    (tmp_path / "x" / "ip").symlink_to(tmp_path / "x" / "bin" / "ip")
    monkeypatch.chdir(tmp_path / "x")
    for path in (
        f"{entry}{os.pathsep}{os.environ['PATH']}",
        f"{os.environ['PATH']}{os.pathsep}{entry}",
        entry,
    ):
        monkeypatch.setenv("PATH", path)
        assert all(Path(folder).is_absolute() for folder in environment()["PATH"].split(os.pathsep))
        assert str(tmp_path) not in environment()["PATH"]


@requires("root")
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o2755, 0o1755])
def test_root_runs_programs_from_a_folder_of_roots(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with_ip(tmp_path / "folder")
    folder.chmod(mode)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin")
    assert find_program("ip") == str(folder / "ip")
    assert execute([Command(("ip", "-V"))], 60)[0].stdout == "started the wrong one\n"


@requires("root")
def test_a_link_on_roots_path_counts_as_where_it_leads(tmp_path: Path) -> None:
    folder = folder_with_ip(tmp_path / "folder")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "a:b").mkdir()
    (tmp_path / "colon").symlink_to(tmp_path / "a:b")
    entries = [str(tmp_path / name) for name in ("loop", "gone", "colon", "link", "folder")]
    assert roots_folders((*entries, "/nowhere/at/all")) == (str(folder),)


@pytest.mark.usefixtures("as_root")
def test_where_root_can_run_nothing_it_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty PATH would stand for the working folder."""
    folder = given_away(tmp_path / "folder")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("ipvkit.targets.programs.SEARCH_PATH", ())
    assert find_program("ip") is None
    assert environment()["PATH"] == os.devnull
    with pytest.raises(
        MissingRequirement, match=r"root does not run .*/folder/ip, which others could change"
    ):
        require("ip")


def test_an_ordinary_users_path_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = given_away(tmp_path / "folder")
    monkeypatch.setenv("PATH", f"{folder}:bin::.")
    with patch("os.getresuid", lambda: (1000, 1000, 1000)):
        assert environment()["PATH"] == ":".join([str(folder), "bin", "", ".", *SEARCH_PATH])
        assert find_program("ip") == str(folder / "ip")


@pytest.mark.parametrize("ids", [(0, 1000, 1000), (1000, 0, 1000), (1000, 1000, 0)])
def test_whoever_can_become_root_counts_as_root(
    ids: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = given_away(tmp_path / "folder")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    with patch("os.getresuid", lambda: ids):
        assert find_program("ip") != str(folder / "ip")


@pytest.mark.parametrize(
    "program", [pytest.param(name, marks=requires(name)) for name in ("ip", "bash", "ping")]
)
def test_what_is_found_is_what_a_command_of_that_name_starts(program: str) -> None:
    words = ["/bin/bash", "-c", 'type -P "$1"', "bash", program]
    found = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert found.stdout.strip() == find_program(program)


@pytest.mark.usefixtures("as_root")
def test_a_uml_guest_has_the_same_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = given_away(tmp_path / "folder")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    kernel = Kernel("6.12.113", "/usr/bin/linux.uml", MODULES, "installed")
    with _block_device(kernel, guest_of(None), "") as file:
        first = Path(f"/proc/self/fd/{file}").read_text().splitlines(keepends=True)[0]
    assert first == f"export PATH={environment()['PATH']} HOME=/run TMPDIR=/run\n"
    assert str(folder) not in first


# --- what else there is in an environment ------------------------------------------------------------------

CHANGES_WHAT_A_PROGRAM_DOES = {
    "LD_PRELOAD": "/tmp/evil.so",
    "LD_LIBRARY_PATH": "/tmp",
    "LD_AUDIT": "/tmp/evil.so",
    "BASH_ENV": "/tmp/evil",
    "ENV": "/tmp/evil",
    "IFS": "/",
    "SHELLOPTS": "xtrace",
    "BASHOPTS": "extdebug",
    "PS4": "$(id)",
    "CDPATH": "/tmp",
    "GLOBIGNORE": "*",
    "BASH_FUNC_ip%%": "() { echo wrong; }",
    "LOCPATH": "/tmp",
    "GCONV_PATH": "/tmp",
    "HOSTALIASES": "/tmp/evil",
    "RES_OPTIONS": "debug",
    "MODPROBE_OPTIONS": "-C /tmp",
    "LANG": "de_DE.UTF-8",
    "LC_MESSAGES": "de_DE.UTF-8",
    "COLORFGBG": "0;15",
    "TMPDIR": "/nowhere",
    "SECRET_TOKEN": "s3cr3t",
}


def test_a_command_sees_what_is_passed_on_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CHANGES_WHAT_A_PROGRAM_DOES, **dict.fromkeys(PASSED_ON, "a word")}.items():
        monkeypatch.setenv(name, value)
    said = execute([Command(("env",))], 60)[0].stdout
    seen = dict(entry.split("=", 1) for entry in said.splitlines() if entry)
    for own in ("SHLVL", "_"):  # of bash, which starts it
        seen.pop(own, None)
    assert seen == {**dict.fromkeys(PASSED_ON, "a word"), "LC_ALL": "C", "PATH": environment()["PATH"]}


@requires("ip")
def test_a_function_that_a_shell_exported_is_no_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASH_FUNC_ip%%", "() { echo wrong; }")
    words = ["/bin/bash", "-c", "ip -V"]
    assert "wrong" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    said = execute([Command(("bash", "-c", "ip -V"))], 60)[0].stdout
    assert said.startswith("ip utility")


@pytest.mark.parametrize(
    ("index", "there"),
    [
        ("kernel/drivers/net/ipvlan/ipvlan.ko.xz: kernel/net/l3mdev.ko\n", True),
        ("kernel/a.ko:\nextra/ipvlan.ko:\n", True),
        ("kernel/drivers/net/ipvlan/ipvlan-old.ko:\nkernel/b.ko: kernel/ipvlan.ko\n", False),
        ("kernel/drivers/net/ipvlan/ipvtap.ko.xz: kernel/drivers/net/ipvlan/ipvlan.ko.xz\n", False),
        (None, False),
    ],
)
def test_the_hint_names_modprobe_only_where_the_module_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str | None, there: bool
) -> None:
    monkeypatch.setattr(ipvlan, "MODULES", tmp_path)
    if index is not None:
        (tmp_path / os.uname().release).mkdir()
        (tmp_path / os.uname().release / "modules.dep").write_text(index)
    assert ("modprobe" in ipvlan.ipvlan_hint()) == there


@pytest.mark.parametrize(("mode", "is_closed"), [(0o700, True), (0o701, False), (0o755, False)])
def test_a_folder_that_only_its_owner_enters_is_closed_to_a_root_without_capabilities(
    mode: int, is_closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 1, 1)
    folder.chmod(mode)
    monkeypatch.setattr("sys.argv", [str(folder / "ipvkit")])
    assert (closed_folder() == folder) == is_closed
