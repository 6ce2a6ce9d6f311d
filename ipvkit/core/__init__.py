"""Errors, values such as names and addresses, and commands as data."""
