"""Parquet files of what was collected, an hour and a product in each: ``archive/<measurement>/exchange=…/…``."""
