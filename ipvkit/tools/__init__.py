"""One file for each external tool: the builders of its argv and the parser of its output."""
