"""What everything else stands on: errors, values, commands."""
