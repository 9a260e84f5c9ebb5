"""The collector: sockets, pipeline, journal and everything around them."""
