"""Print what a bash script prints as root of a fresh uml guest; the exit code is the script's."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "kernel")]

from guest import in_guest  # noqa: E402

said = in_guest(sys.argv[1], timeout_s=480)
sys.stdout.write(said.output)
sys.exit(said.exit_code)
