"""The oldest libraries that are promised to do."""
