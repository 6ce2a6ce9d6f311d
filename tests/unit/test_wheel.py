"""The wheel has what ipvkit needs; tests/kernel/test_packages.py installs one, with --slow."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from packages import copied, files
from requires import requires

BUILD = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"


@requires("git")
def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BUILD, str(tmp_path)]
    subprocess.run(argv, cwd=copied(tmp_path / "source"), capture_output=True, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    packed = ZipFile(wheel).namelist()
    assert sorted(name for name in packed if name.startswith("ipvkit/")) == files("ipvkit")
    assert "ipvkit/lab/lab.schema.json" in packed
