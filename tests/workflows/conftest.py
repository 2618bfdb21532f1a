"""Searches whose trials are not trained."""

from tests.support.searching import pretended, undrawn

__all__ = ("pretended", "undrawn")
