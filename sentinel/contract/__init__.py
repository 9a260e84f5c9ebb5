"""The data as the public reads it: measurements, and line protocol."""
