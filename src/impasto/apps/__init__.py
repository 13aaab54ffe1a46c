"""People's ways in."""
