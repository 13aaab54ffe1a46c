"""The commands of `impasto`, one in each file."""
