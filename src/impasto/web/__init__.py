"""The studio: a page where people paint, and the same over HTTP."""
