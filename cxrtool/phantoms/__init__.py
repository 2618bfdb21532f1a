"""Drawn chest X-rays with every observation: to try the chain on, and to test pipelines with."""
