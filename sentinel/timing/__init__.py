"""Clocks, pauses, rates and durations."""
