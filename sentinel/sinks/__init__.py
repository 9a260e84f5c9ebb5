"""Consumers of the journal, each with its own cursor."""
