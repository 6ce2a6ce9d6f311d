"""``python -m ipvkit`` is the same as ``ipvkit``."""

import sys

from ipvkit.cli import main

sys.exit(main())
