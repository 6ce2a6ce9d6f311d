"""Runs a plan on a target, undoes it, and keeps a record of what there is to undo."""
