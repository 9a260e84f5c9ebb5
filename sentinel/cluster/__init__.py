"""Many machines as one: who collects what, and the lines of all in one replicated log. NATS JetStream does the work.

``names`` (what things are called there) is pure; ``session`` is the one way to the servers.
"""
