"""Numbers as they are shown, and what may stand in place of one."""

Interval = tuple[float, float] | None
"""From the lower to the upper end; None where it is not defined."""
