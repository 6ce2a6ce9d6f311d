"""What `--output FILE` does to a file of each kind, as the shell's ``>`` would."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipvkit.core.errors import IpvkitError, UsageError
from ipvkit.report.files import refuse_unwritable, write
from requires import requires, skip_without


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    former = os.umask(0o022)
    yield
    os.umask(former)


def written(file: Path, text: str = "new\n") -> None:
    refuse_unwritable(file)
    write(file, [text])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_not_a_regular_file_stays_what_it_is(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "link").symlink_to("fifo")
    for file in (fifo, tmp_path / "link"):
        written(file)
        assert os.read(reader, 100) == b"new\n"
    os.close(reader)
    assert fifo.is_fifo()
    assert names(tmp_path) == ["fifo", "link"]


@requires("root")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.read_bytes()
    except OSError:
        skip_without("a temporary folder in which devices work")
    written(device)
    assert device.is_char_device()


def test_an_open_file_is_written_in_place(tmp_path: Path) -> None:
    """As /dev/stdout is."""
    with (tmp_path / "out").open("w") as out:
        written(Path(f"/proc/self/fd/{out.fileno()}"))
        assert os.fstat(out.fileno()).st_nlink == 1
    assert (tmp_path / "out").read_text() == "new\n"


def test_a_socket_and_a_folder_are_refused_before_the_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    for name in ("socket", ".", "loop", "none/file"):
        with pytest.raises(UsageError, match="cannot be written"):
            refuse_unwritable(tmp_path / name)


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_a_link_is_followed_and_stays(tmp_path: Path, there: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "two").symlink_to("real/file")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    if there:
        (tmp_path / "real" / "file").write_text("old")
    written(tmp_path / "one")
    assert (tmp_path / "real" / "file").read_text() == "new\n"
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").is_symlink()
    assert names(tmp_path / "real") == ["file"]


@requires("root")
@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_another_user_put_into_a_sticky_folder_is_refused(tmp_path: Path, kind: str) -> None:
    shared, precious = tmp_path / "shared", tmp_path / "precious"
    shared.mkdir()
    precious.write_text("old")
    (shared / "link").symlink_to(precious)
    (shared / "file").write_text("old")
    for name in ("link", "file"):
        os.lchown(shared / name, 12345, 12345)
    refuse_unwritable(shared / kind)
    shared.chmod(0o1777)
    with pytest.raises(UsageError, match="of another user"):
        refuse_unwritable(shared / kind)
    with pytest.raises(UsageError, match="of another user"):
        write(shared / kind, ["new"])
    assert precious.read_text() == "old"


def test_the_mode_is_that_of_the_umask_or_of_the_former_file(tmp_path: Path) -> None:
    os.umask(0o077)
    written(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    (tmp_path / "new").chmod(0o664)
    written(tmp_path / "new", "again\n")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o664


def test_a_result_that_cannot_be_written_leaves_the_former_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "half"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "result").write_text("old")
    with pytest.raises(IpvkitError, match="No space left on device"):
        write(tmp_path / "result", pieces())
    assert (tmp_path / "result").read_text() == "old"
    assert names(tmp_path) == ["result"]
