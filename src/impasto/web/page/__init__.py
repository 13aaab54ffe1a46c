"""The studio's page: its form, its events, its HTML."""
