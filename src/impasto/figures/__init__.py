"""Pictures about paintings: contact sheets, plots, time-lapses."""
