"""scripts/bench/run, with few endpoints and no peers: it measures, and writes its page and plot."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from comparison.contenders import BUILDERS
from comparison.figures import BEGIN, END
from documents import ROOT


@pytest.mark.slow
def test_a_quick_run_fills_the_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Performance\n\n{BEGIN}\nof before\n{END}\n\nand after\n")
    bench = [sys.executable, str(ROOT / "scripts" / "bench" / "run.py"), "--quick", "--page", str(page)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(bench, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("# Performance\n")
    assert text.endswith("\n\nand after\n")
    assert "of before" not in text
    # Peers are not there, and are not fetched: they are told as not measured, and all else is measured.
    assert "it was not fetched before" in text
    ours = [
        line
        for line in text.splitlines()
        if line.startswith(("| ipvkit", "| commands in bash", "| ip -batch"))
    ]
    assert ours
    assert not [line for line in ours if "not measured" in line]
    assert all(name in text for name in BUILDERS)
    assert ElementTree.fromstring(page.with_suffix(".svg").read_text()).tag.endswith("svg")  # noqa: S314
    assert not (tmp_path / "cache").exists()
