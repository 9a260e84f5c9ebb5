"""Tidepool's dialect of the local exchange."""
