"""Figures of paintings: contact sheets, plots, time-lapses."""
