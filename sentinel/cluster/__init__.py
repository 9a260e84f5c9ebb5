"""Many machines as one: who collects what, and the lines of all in one replicated log. NATS JetStream does the work.

``names`` (what things are called there), ``presence`` (what members tell each other) and ``deal`` (who collects what)
are pure; ``session`` is the one way to the servers. A ``member`` keeps its ``lease`` and reads those of others in the
``registry``.
"""
