"""Scores against truth: metrics, intervals, thresholds, calibration, protocols."""
