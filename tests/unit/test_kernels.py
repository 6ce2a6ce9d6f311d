"""Which User-Mode Linux kernel is chosen by which name, and what is refused."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from command_line import Called
from ipvkit.cli import main
from ipvkit.cli.common import ALL, Place
from ipvkit.core.errors import IpvkitError, MissingRequirement, UsageError
from ipvkit.core.values import TargetKind
from ipvkit.targets import kernels
from ipvkit.targets.choice import choose
from ipvkit.targets.kernels import SUITES, find, has_amx
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml, _block_device, guest_of
from requires import requires


def unpacked(folder: Path, release: str, prints: str = "") -> Path:
    """Make what is unpacked from the package of a kernel, which prints its release."""
    program, modules = folder / "usr" / "bin" / "linux.uml", folder / "usr" / "lib" / "uml" / "modules"
    program.parent.mkdir(parents=True)
    (modules / release).mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {prints or release}\n")
    program.chmod(0o755)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have this machine have one installed kernel or none, these in its cache, and a CPU for all of them."""
    monkeypatch.setattr(kernels, "has_amx", lambda: False)
    monkeypatch.setattr(kernels, "SHARED", tmp_path / "shared")
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def have(release: str | None, *fetched: str) -> None:
        there = unpacked(tmp_path / "root", release) if release else tmp_path / "nowhere"
        monkeypatch.setattr(kernels, "MODULES", there / "usr" / "lib" / "uml" / "modules")
        monkeypatch.setattr(kernels, "find_program", lambda name: str(there / "usr" / "bin" / name))
        for each in fetched:
            unpacked(tmp_path / "cache" / "ipvkit" / "kernels" / each, each)

    return have


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    def call(*words: str) -> Called:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


Have = Callable[..., None]


def test_the_installed_kernel_comes_first_then_the_newest(installed: Have) -> None:
    installed("6.12.113", "5.10.46", "6.1.176", "6.1.9", "6.12.113", "7.2.7")
    found = [(kernel.release, kernel.origin) for kernel in kernels.kernels()]
    assert found[0] == ("6.12.113", "installed")
    assert found[1:] == [(release, "fetched") for release in ("7.2.7", "6.1.176", "6.1.9", "5.10.46")]
    assert find().release == "6.12.113"


@pytest.fixture
def amx(installed: Have, monkeypatch: pytest.MonkeyPatch) -> Have:
    """Have a CPU with AMX besides."""
    monkeypatch.setattr(kernels, "has_amx", lambda: True)
    return installed


@requires("modprobe", "ip")
def test_a_kernel_without_room_for_amx_is_passed_over(amx: Have, call: Callable[..., Called]) -> None:
    amx("6.12.113", "6.1.176", "6.13.0", "7.2.7")
    assert find().release == "7.2.7"
    assert find("6").release == "6.13.0"
    _, out, _ = call("kernels")
    notes = {line.split()[0]: line.split("linux.uml")[-1].strip() for line in out.splitlines()[2:6]}
    cannot = "does not run on this CPU"
    assert notes == {"6.12.113": cannot, "7.2.7": "default", "6.13.0": "", "6.1.176": cannot}
    every = [target.kernel.release for target in Place("uml", ALL).each() if isinstance(target, Uml)]
    assert every == ["6.13.0", "7.2.7"]


def test_the_kernels_of_root_serve_every_user(
    installed: Have, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("6.12.113", "7.2.7")
    unpacked(tmp_path / "shared" / "7.3.0", "7.3.0")
    unpacked(tmp_path / "shared" / "7.2.7", "7.2.7")
    assert [kernel.release for kernel in kernels.kernels()] == ["6.12.113", "7.3.0", "7.2.7"]
    assert find("7.2").program.startswith(str(tmp_path / "cache"))
    assert kernels.cache() == tmp_path / "cache" / "ipvkit" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert kernels.cache() == tmp_path / "shared"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    assert kernels.cache() == Path("/home/me/.cache/ipvkit/kernels")


@pytest.mark.parametrize("name", [None, "6.12", "PATH"])
def test_where_no_kernel_has_room_for_amx_the_error_names_one(
    amx: Have, tmp_path: Path, call: Callable[..., Called], name: str | None
) -> None:
    amx("6.12.113")
    with pytest.raises(MissingRequirement) as caught:
        find(str(tmp_path / "root") if name == "PATH" else name)
    assert caught.value.message == "kernel 6.12.113 does not run on a CPU with AMX; those from 6.13 on do"
    assert caught.value.hint == "ipvkit kernels fetch 7.2"
    # They are listed nevertheless.
    code, out, _ = call("kernels")
    assert (code, "default" in out) == (0, False)


@pytest.mark.parametrize(
    ("name", "what"),
    [(None, "User-Mode Linux is not installed"), ("6.1", "kernel 6.1 does not run on a CPU")],
)
def test_without_any_kernel_it_names_one_with_room_for_amx(amx: Have, name: str | None, what: str) -> None:
    amx(None)
    with pytest.raises(MissingRequirement, match=what) as caught:
        find(name)
    assert caught.value.hint == "ipvkit kernels fetch 7.2"


def test_the_flags_of_the_cpu_say_whether_it_has_amx() -> None:
    assert has_amx() == ("amx_tile" in Path("/proc/cpuinfo").read_text().split())


def test_without_an_installed_kernel_the_newest_in_the_cache_is_used(installed: Have) -> None:
    installed(None, "5.10.46", "6.1.176")
    assert find().release == "6.1.176"
    assert Uml().kernel.release == "6.1.176"


@pytest.mark.parametrize(
    ("name", "release"),
    {"6.1": "6.1.176", "6.1.9": "6.1.9", "6.12": "6.12.113", "6": "6.12.113", "7.2": "7.2.7"}.items(),
)
def test_a_kernel_is_found_by_its_release_or_the_beginning_of_it(
    installed: Have, monkeypatch: pytest.MonkeyPatch, name: str, release: str
) -> None:
    installed("6.12.113", "6.1.9", "6.1.176", "7.2.7")
    assert find(name).release == release
    monkeypatch.setenv("IPVKIT_KERNEL", name)
    assert find().release == release
    assert find("7").release == "7.2.7"


@pytest.mark.parametrize(("release", "found"), [("6.12.9", False), ("7.2.7", True), ("10.0.1", True)])
def test_the_set_up_tells_a_kernel_that_is_there_from_one_to_fetch(
    installed: Have, call: Callable[..., Called], release: str, found: bool
) -> None:
    setup = (Path(__file__).parents[2] / "scripts" / "setup").read_text(encoding="utf-8")
    (there,) = re.findall("grep --quiet --extended-regexp '([^']+)'", setup)
    installed(release)
    _, shown, _ = call("kernels")
    assert bool(re.search(there, shown, re.MULTILINE)) == found, shown


def test_a_kernel_is_found_by_its_path(installed: Have, tmp_path: Path) -> None:
    installed("6.12.113")
    folder = unpacked(tmp_path / "a b'\\c", "6.1.176")
    for path in (folder, folder / "usr" / "bin" / "linux.uml"):
        found = find(str(path))
        assert (found.release, found.origin) == ("6.1.176", "path")
    with _block_device(found, guest_of(None), "") as file:
        content = Path(f"/proc/self/fd/{file}").read_text()
    assert r"/a\040b\047\134c/usr/lib/uml/modules /run/modules/lib/modules" in content


def test_a_kernel_is_found_where_it_was_built(installed: Have, tmp_path: Path) -> None:
    installed(None)
    (tmp_path / "lib" / "modules" / "7.3.0-rc1").mkdir(parents=True)
    (tmp_path / "linux").write_text("#!/bin/sh\necho 7.3.0-rc1\n")
    (tmp_path / "linux").chmod(0o755)
    assert find(str(tmp_path / "linux")).release == "7.3.0-rc1"


def test_of_several_folders_of_modules_the_program_names_its_own(installed: Have, tmp_path: Path) -> None:
    installed("6.12.113")
    (tmp_path / "root" / "usr" / "lib" / "uml" / "modules" / "6.12.95").mkdir()
    assert find().release == "6.12.113"


@pytest.mark.parametrize(
    ("name", "kind", "what", "hint"),
    [
        ("6.1", MissingRequirement, "kernel 6.1 is not installed", "ipvkit kernels fetch 6.1"),
        (
            "6.1.200",
            UsageError,
            "unknown kernel '6.1.200'",
            "choose from 6.12.113, 7.2.7; `ipvkit",
        ),
        ("6.", UsageError, "unknown kernel '6.'", "choose from"),
        ("all", UsageError, "unknown kernel 'all'", "choose from"),
        ("/no/such", UsageError, "no kernel '/no/such'", "give the path of a program"),
        ("MODULELESS", UsageError, "no modules beside the kernel", "modules_install"),
        ("OTHER", UsageError, "is not the User-Mode Linux kernel 6.1.176", "--version"),
    ],
)
def test_another_name_is_refused(
    installed: Have, tmp_path: Path, name: str, kind: type[IpvkitError], what: str, hint: str
) -> None:
    installed("6.12.113", "7.2.7")
    if name == "MODULELESS":
        name = str(tmp_path / "linux")
        Path(name).write_text("")
    elif name == "OTHER":
        name = str(unpacked(tmp_path / "other", "6.1.176", prints="true, of coreutils"))
    with pytest.raises(kind) as found:
        find(name)
    assert what in found.value.message
    assert hint in found.value.hint


def test_without_any_kernel_it_names_both_remedies(installed: Have) -> None:
    installed(None)
    with pytest.raises(MissingRequirement, match="User-Mode Linux is not installed") as found:
        Uml().check()
    assert "apt install user-mode-linux" in found.value.hint
    assert f"ipvkit kernels fetch {[*SUITES][-2]}" in found.value.hint


@requires("root")
def test_root_runs_no_kernel_that_others_could_change(installed: Have, tmp_path: Path) -> None:
    installed(None, "6.1.176")
    os.chown(tmp_path / "cache" / "ipvkit" / "kernels" / "6.1.176" / "usr" / "bin", 65534, 65534)
    assert kernels.kernels() == []
    with pytest.raises(MissingRequirement, match="which others could change"):
        find(str(tmp_path / "cache" / "ipvkit" / "kernels" / "6.1.176"))
    with patch("os.getresuid", lambda: (1000, 1000, 1000)):
        assert find().release == "6.1.176"


def test_a_user_without_a_home_or_a_cache_that_can_be_read_has_the_installed_kernel(
    installed: Have, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("6.12.113")
    monkeypatch.delenv("XDG_CACHE_HOME")
    for home in ("~", "/dev/null"):
        monkeypatch.setattr("os.path.expanduser", lambda path, home=home: path.replace("~", home))
        assert [kernel.release for kernel in kernels.kernels()] == ["6.12.113"]

    def refused(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refused)
    assert kernels.kernels() == []


def test_a_wanted_kernel_makes_auto_uml(installed: Have, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("6.12.113", "7.2.7")
    for each in (Sandbox, Uml):
        monkeypatch.setattr(each, "check", lambda _: None)
    told: list[str] = []
    assert isinstance(choose("auto", told.append), Sandbox)
    kinds: tuple[TargetKind, ...] = ("auto", "uml")
    for kind in kinds:
        target = choose(kind, told.append, "7.2")
        assert isinstance(target, Uml)
        assert target.kernel.release == "7.2.7"
    monkeypatch.setenv("IPVKIT_KERNEL", "7.2")
    target = choose("auto", told.append)
    assert isinstance(target, Uml)
    assert target.kernel.release == "7.2.7"
    assert told == ["target: sandbox"]


def test_all_kernels_are_targets_the_oldest_first(installed: Have, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("6.12.113", "5.10.46", "7.2.7")
    monkeypatch.setattr(Uml, "check", lambda _: None)
    targets = [target for target in Place(kernel=ALL).each() if isinstance(target, Uml)]
    assert [target.kernel.release for target in targets] == ["5.10.46", "6.12.113", "7.2.7"]
    (one,) = Place(kernel="7").each()
    assert isinstance(one, Uml)
    assert one.kernel.release == "7.2.7"


@pytest.mark.parametrize(
    "words",
    [
        ("run-lab", "--target", "sandbox", "--kernel", "6.1"),
        ("run-lab", "--parent", "eth0", "--kernel", "6.1"),
        ("matrix", "--target", "sandbox", "--kernel", "6.1"),
        ("ping", "192.0.2.1", "--kernel", "6.1"),
        ("link", "list", "--target", "sandbox", "--kernel", "6.1"),
    ],
)
def test_a_kernel_is_refused_for_another_target(call: Callable[..., Called], words: tuple[str, ...]) -> None:
    code, printed, complaint = call(*words)
    assert (code, printed) == (2, "")
    assert complaint == "error: --kernel needs --target uml\nhint: give --target uml, or omit --kernel\n"


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ("run-lab",),
        ("matrix",),
        ("explain", "host", "test1", "--run"),
        pytest.param(("measure-arp",), marks=requires("arping", "ping")),
        ("link", "list", "--target", "uml"),
        ("shell", "/dev/null"),
    ],
)
def test_each_command_that_runs_on_uml_takes_a_kernel(
    call: Callable[..., Called], installed: Have, words: tuple[str, ...]
) -> None:
    installed("6.12.113")
    code, _, complaint = call(*words, "--kernel", "9.9")
    assert code == 2
    assert re.search(r"^error: unknown kernel '9.9'$", complaint, re.MULTILINE)
