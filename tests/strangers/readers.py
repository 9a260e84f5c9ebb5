"""Counts what other people's readers of Parquet find in an archive, with nothing of ours. Run by ``compare``.

    python readers.py FOLDER ENDPOINT PREFIX

prints, a line for each reader, what it found of the trades of one market: how many, the lowest and the highest id. A
reader that cannot be had here says why on stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

HIVE = "exchange=*/symbol=*/date=*/hour=*.parquet"
SYMBOL = "BTC-USD"
COUNTS = "count(*), min(trade_id), max(trade_id)"


def duckdb_of_files(folder: str, endpoint: str, prefix: str) -> tuple[int, int, int]:
    import duckdb

    files = f"read_parquet('{folder}/archive/trades/{HIVE}', hive_partitioning = true, union_by_name = true)"
    return duckdb.sql(f"select {COUNTS} from {files} where symbol = '{SYMBOL}'").fetchall()[0]


def duckdb_of_bucket(folder: str, endpoint: str, prefix: str) -> tuple[int, int, int]:
    import duckdb

    db = duckdb.connect()
    db.execute("install httpfs; load httpfs")
    db.execute(
        "create secret (type s3, key_id 'an-id', secret 'a-secret-key', region 'us-east-1', url_style 'path', "
        f"endpoint '{endpoint}', use_ssl false)"
    )
    files = f"read_parquet('s3://{prefix}/archive/trades/{HIVE}', hive_partitioning = true, union_by_name = true)"
    return db.sql(f"select {COUNTS} from {files} where symbol = '{SYMBOL}'").fetchall()[0]


def polars_of_bucket(folder: str, endpoint: str, prefix: str) -> tuple[int, int, int]:
    import polars as pl

    options = {
        "aws_endpoint_url": f"http://{endpoint}",
        "aws_access_key_id": "an-id",
        "aws_secret_access_key": "a-secret-key",
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    rows = pl.scan_parquet(
        f"s3://{prefix}/archive/trades/**/*.parquet",
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=options,
    )
    trade_id = pl.col("trade_id")
    found = rows.filter(pl.col("symbol") == SYMBOL).select(
        pl.len().alias("count"), trade_id.min().alias("first"), trade_id.max().alias("last")
    )
    return found.collect().row(0)


def clickhouse_of_bucket(folder: str, endpoint: str, prefix: str) -> tuple[int, int, int]:
    import chdb

    files = f"s3('http://{endpoint}/{prefix}/archive/trades/**/*.parquet', 'an-id', 'a-secret-key', 'Parquet')"
    asked = f"select {COUNTS} from {files} where symbol = '{SYMBOL}' settings use_hive_partitioning = 1"
    return tuple(json.loads(str(chdb.query(asked, "JSONCompactEachRow"))))


def spark_of_files(folder: str, endpoint: str, prefix: str) -> tuple[int, int, int]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    # Spark knows no nanoseconds: as numbers they are exact
    spark = builder.config("spark.sql.legacy.parquet.nanosAsLong", "true").getOrCreate()
    try:
        rows = spark.read.option("mergeSchema", "true").parquet(f"{folder}/archive/trades")
        rows.createOrReplaceTempView("trades")
        return tuple(spark.sql(f"select {COUNTS} from trades where symbol = '{SYMBOL}'").first())
    finally:
        spark.stop()


READERS: tuple[Callable[[str, str, str], tuple[int, int, int]], ...] = (
    duckdb_of_files,
    duckdb_of_bucket,
    polars_of_bucket,
    clickhouse_of_bucket,
    spark_of_files,
)


def main(folder: str, endpoint: str, prefix: str) -> None:
    for reader in READERS:
        try:
            found = list(map(int, reader(folder, endpoint, prefix)))
        except Exception as error:  # noqa: BLE001  # whatever a stranger's program raises
            sys.stderr.write(f"{reader.__name__}: {type(error).__name__}: {str(error)[:600]}\n")
            continue
        sys.stdout.write(json.dumps([reader.__name__, *found]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
