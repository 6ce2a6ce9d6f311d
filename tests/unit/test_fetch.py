"""A kernel is fetched through apt, with its checks, or the cache stays as it was."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from test_kernels import unpacked

from command_line import Called
from ipvkit.cli import main
from ipvkit.core.errors import CommandFailed, UnparsableOutput
from ipvkit.targets import programs
from ipvkit.targets.process import output_of
from ipvkit.tools import apt
from ipvkit.verbs import kernels as verb
from requires import requires

# Of the two files any is enough.
KEYRING = next(filter(Path.exists, verb.KEYRINGS), verb.KEYRINGS[0])
needs_apt = requires("apt-get", "dpkg-deb", str(KEYRING))

APT_GET = """\
#!/bin/bash
echo "$@" >>LOG
case "$*" in
*update) exit UPDATE ;;
*--print-uris*) echo "'http://deb.debian.org/debian/pool/main/FILE' FILE SIZE SHA256:12ab" ;;
*download*) echo dlstatus:1:50.0:Retrieving file 1 of 1; cp DEB . || exit 100 ;;
esac
"""
"""An apt-get that downloads a file of this machine."""


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Called]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*words: str) -> Called:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def pack(folder: Path, file: Path) -> None:
    build = ["dpkg-deb", "--build", "--root-owner-group", str(folder), str(file)]
    subprocess.run(build, check=True, capture_output=True)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Have apt-get be a fake that has a package of this version; return where it writes its calls."""

    def have(version: str, release: str, update: int = 0) -> Path:
        package = unpacked(tmp_path / "package", release)
        (package / "DEBIAN").mkdir()
        fields = (
            "Package: user-mode-linux",
            f"Version: {version}",
            "Architecture: all",
            "Maintainer: a <a@b>",
        )
        (package / "DEBIAN" / "control").write_text("\n".join((*fields, "Description: a kernel\n")))
        file = tmp_path / f"user-mode-linux_{version}_all.deb"
        pack(package, file)
        fake, log = tmp_path / "bin" / "apt-get", tmp_path / "log"
        words = {"LOG": log, "FILE": file.name, "SIZE": file.stat().st_size, "DEB": file, "UPDATE": update}
        fake.parent.mkdir()
        fake.write_text(re.sub("|".join(words), lambda found: str(words[found[0]]), APT_GET))
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{fake.parent}:{programs.environment()['PATH']}")
        return log

    return have


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "ipvkit" / "kernels").iterdir())


@needs_apt
def test_a_kernel_is_unpacked_into_the_cache(
    call: Callable[..., Called], archive: Callable[..., Path], tmp_path: Path
) -> None:
    log = archive("6.1um4+b13", "6.1.176")
    for _ in range(2):
        code, printed, shown = call("kernels", "fetch", "6.1")
        assert code == 0, shown
        assert "kernel 6.1.176: user-mode-linux 6.1um4+b13 of Debian bookworm" in printed
        assert shown.splitlines() == [
            "read the packages of Debian bookworm",
            "look for user-mode-linux",
            "download user-mode-linux 6.1um4+b13, 0.0 MB",
            "unpack it",
        ]
        assert left(tmp_path) == ["6.1.176"]
    calls = [re.sub(r"^--config-file \S+/apt\.conf ", "", line) for line in log.read_text().splitlines()[:3]]
    assert calls == [
        "update",
        "--print-uris download user-mode-linux",
        "--option APT::Status-Fd=1 download user-mode-linux",
    ]
    code, printed, _ = call("kernels")
    assert re.search(r"^6\.1\.176 +fetched ", printed, re.MULTILINE)
    assert "fetch 6.1\n" not in printed


@needs_apt
def test_a_failure_leaves_the_cache_as_it_was(
    call: Callable[..., Called], archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive("6.1um4", "6.1.176", update=100)
    code, printed, complaint = call("kernels", "fetch", "6.1")
    assert (code, printed) == (4, "")
    assert (
        "error: could not read the packages of Debian bookworm\n  command: apt-get --config-file" in complaint
    )
    assert left(tmp_path) == []


@needs_apt
def test_another_version_is_not_taken_for_the_one_that_was_asked_for(
    call: Callable[..., Called], archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive("7.4um1", "7.4.2")
    code, _, complaint = call("kernels", "fetch", "7.2")
    assert code == 4
    assert "error: Debian forky has user-mode-linux 7.4um1 now, not 7.2\n" in complaint
    assert "hint: ipvkit kernels fetch forky gets it\n" in complaint
    assert left(tmp_path) == []
    assert call("kernels", "fetch", "forky")[0] == 0
    assert left(tmp_path) == ["7.4.2"]


@needs_apt
def test_a_package_without_a_kernel_is_refused(
    call: Callable[..., Called], archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive("6.1um4", "6.1.176")
    shutil.rmtree(tmp_path / "package" / "usr" / "lib")
    pack(tmp_path / "package", tmp_path / "user-mode-linux_6.1um4_all.deb")
    code, _, complaint = call("kernels", "fetch", "6.1")
    assert (code, left(tmp_path)) == (4, [])
    assert "has no kernel that may run here" in complaint


@needs_apt
def test_apt_refuses_an_archive_that_is_not_signed(call: Callable[..., Called], tmp_path: Path) -> None:
    """The real apt, and an archive on this machine."""
    folder = tmp_path / "archive" / "dists" / "bookworm"
    folder.mkdir(parents=True)
    (folder / "Release").write_text(
        "Suite: bookworm\nCodename: bookworm\nComponents: main\nArchitectures: amd64\n"
    )
    code, printed, complaint = call("kernels", "fetch", "6.1", "--mirror", f"file:{tmp_path}/archive")
    assert (code, printed) == (4, "")
    assert "is not signed" in complaint
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("4.19",), "unknown kernel '4.19'"),
        (("6.1", "Sid"), "unknown kernel 'Sid'"),
        (("6.1", "--mirror", "x y"), "invalid mirror 'x y'"),
        (("6.1", "--mirror", "http://a\nTrusted: yes"), "invalid mirror"),
        (("6.1", "--mirror", "/srv/debian"), "invalid mirror '/srv/debian'"),
    ],
)
def test_a_wrong_name_or_mirror_is_refused(
    call: Callable[..., Called], words: tuple[str, ...], what: str
) -> None:
    code, printed, complaint = call("kernels", "fetch", *words)
    assert (code, printed) == (2, "")
    assert complaint.startswith(f"error: {what}")
    assert "\nhint: " in complaint


def test_without_apt_it_names_what_is_missing(
    call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find_program", lambda _: None)
    code, _, complaint = call("kernels", "fetch", "6.1")
    assert code == 3
    assert complaint.startswith("error: apt-get, dpkg-deb are not installed")


def test_a_cache_that_cannot_be_written_is_named(call: Callable[..., Called], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    code, _, complaint = call("kernels", "fetch", "6.1")
    assert code == 3
    assert f"{tmp_path}/cache/ipvkit/kernels cannot be written" in complaint
    assert "hint: set XDG_CACHE_HOME to another folder\n" in complaint


def test_what_apt_prints_of_a_package_is_read() -> None:
    file = "user-mode-linux_5.10um3+b1_amd64.deb"
    found = apt.parse_location(f"'http://x/{file.replace('+', '%2b')}' {file} 38177908 SHA256:2cf4\n")
    assert (found.version, found.size, found.hash) == ("5.10um3+b1", 38177908, "SHA256:2cf4")
    with pytest.raises(UnparsableOutput):
        apt.parse_location("")


def test_the_lines_of_a_process_are_heard_as_they_come_and_kept(tmp_path: Path) -> None:
    heard: list[str] = []
    done = output_of(["bash", "-c", "pwd; echo 2; exit 3"], 10.0, folder=str(tmp_path), heard=heard.append)
    assert (done.exit_code, done.stdout, heard) == (3, f"{tmp_path}\n2\n", [f"{tmp_path}\n", "2\n"])
    with pytest.raises(CommandFailed, match="did not end within"):
        output_of(["sleep", "30"], 0.1, heard=heard.append)
