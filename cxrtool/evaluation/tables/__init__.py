"""Anybody's tables of scores and of truth: their columns, their keys, and how rows are matched."""
