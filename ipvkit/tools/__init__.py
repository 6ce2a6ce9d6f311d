"""For each external tool: the builders of its argv, and the parser of its output where it is read."""
