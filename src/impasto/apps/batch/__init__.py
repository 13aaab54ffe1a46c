"""Many paintings by one command: here, or on a cluster."""
