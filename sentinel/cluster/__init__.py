"""Many machines as one: who collects what, and the lines of all in one replicated log. NATS JetStream does the work.

``names`` (what things are called there), ``deal`` (who collects what), ``presence``, ``given`` and ``reading`` (what a
program that follows is given) are pure; ``session`` is the one way to the servers, ``stream`` the lines on them.
"""
