"""Rows whose labels deserve a second look, and rows that are worth labeling first."""
