"""The studio for programs: the same over HTTP."""
