"""Facts about this machine, checks on them, and what doctor makes of them."""
