"""The command line: `impasto`."""
