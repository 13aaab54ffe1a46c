"""A run: what is painted, its levels, its loop, its record, its memory, its checkpoints."""
