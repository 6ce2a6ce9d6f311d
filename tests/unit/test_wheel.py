"""The wheel has what ipvkit needs; tests/kernel/test_packages.py installs one, with --slow."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

from documents import ROOT
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


def test_debians_package_brings_a_typer_that_ipvkit_takes() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    needed = Requirement(next(line for line in lines if line.startswith("typer")))
    pinned = re.findall(r"^([\w-]+)==(\S+) --hash", (ROOT / "debian/vendored.txt").read_text(), re.MULTILINE)
    assert dict(pinned)["typer"] in needed.specifier
