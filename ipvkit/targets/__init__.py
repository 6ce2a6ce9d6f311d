"""Where commands run: `local`, `sandbox`, `uml`. Each starts an agent, which runs what it is sent."""
