"""Facts about this machine, checks of them before a run, and doctor."""
