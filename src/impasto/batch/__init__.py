"""Many paintings into one folder."""
