"""Tapes back into lines, and captures into tapes."""
