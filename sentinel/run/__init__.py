"""The commands that run: what a process is made of, from its first line to its last."""
