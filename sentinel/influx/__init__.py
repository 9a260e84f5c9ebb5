"""InfluxDB of every version: how it is reached, what its answers mean, its buckets, and whether it holds everything."""
