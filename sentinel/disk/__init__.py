"""What lies in a data directory: journal, tapes, shards, and how full it is."""
