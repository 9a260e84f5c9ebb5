"""Many machines as one: who collects what, and the lines of all in one replicated log. NATS JetStream does the work.

Pure are ``names`` (what things are called there), ``presence`` (what members tell each other), ``deal`` (who collects
what), ``given`` and ``reading`` (what a program that follows is given). ``session`` is the one way to the servers,
``stream`` the lines on them. A ``member`` keeps its ``lease`` and reads those of others in the ``registry``.
"""
