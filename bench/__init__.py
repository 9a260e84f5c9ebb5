"""How fast it is, and how it compares. Nothing here is a test of time: only the books' correctness can fail."""
