"""The builders of each tool's argv, and the parsers of its output."""
