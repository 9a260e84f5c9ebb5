"""The venue's side of the world: sockets, REST, repairs, and which product goes over which connection."""
