"""Where commands run: `local`, `sandbox`, `uml`, `ansible`. Each starts an agent, which runs what it gets."""
