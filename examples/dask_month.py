"""A month of one market from an archive, by Dask: its volume-weighted average price, and how deep its book was.

    python examples/dask_month.py s3://bucket/prefix coinbase:BTC-USD 2026-11
    python examples/dask_month.py file:///home/me/data kraken:BTC/USD 2026-11 tcp://scheduler:8786

The first computes in two processes of this machine, the second on the workers of a scheduler that runs somewhere. There
is nothing of sentinel-ws in here, and the workers need only Dask, pandas and pyarrow: the archive is Parquet, a file an
hour, in folders of the Hive kind. URLs are Arrow's: ``s3://bucket/prefix?endpoint_override=localhost:9000&scheme=http``
for a server of your own.

Depth is the mean over the instants at which there was a proved book. How many there were not, and which trades are
missing: ``sentinel-ws gap-report --data-dir URL --since 2026-11-01 --until 2026-12-01``.
"""

import json
import sys
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import dask.dataframe as dd
from distributed import Client, LocalCluster
from pyarrow import fs


def rows(url: str, measurement: str, market: str, month: str, columns: list[str]) -> Any:
    """What the archive has of it, as a frame of Dask's, a part for each hour."""
    exchange, _, symbol = market.partition(":")
    files, root = fs.FileSystem.from_uri(url)
    folder = f"{root}/archive/{measurement}/exchange={quote(exchange, safe='')}/symbol={quote(symbol, safe='')}"
    found = files.get_file_info(fs.FileSelector(folder, recursive=True))
    hours = [info.path for info in found if f"/date={month}-" in info.path and info.path.endswith(".parquet")]
    if not hours:
        raise SystemExit(f"nothing of {measurement} of {market} in {month} at {url}")
    return dd.read_parquet(sorted(hours), filesystem=files, columns=columns)


def month_of(trades: Any, book: Any) -> dict[str, Any]:
    turnover = (trades["price"] * trades["size"]).sum()
    depth = book.groupby(["side", "bps"], observed=True)[["volume", "notional"]].mean()
    number, volume, paid, profile = dd.compute(trades["size"].count(), trades["size"].sum(), turnover, depth)
    return {
        "trades": int(number),
        "volume": float(volume),
        "vwap": float(paid / volume),
        "depth": profile.reset_index().sort_values(["side", "bps"]).to_dict("records"),
    }


def main(url: str, market: str, month: str, scheduler: str | None = None) -> None:
    trades = rows(url, "trades", market, month, ["price", "size"])
    book = rows(url, "book", market, month, ["side", "bps", "volume", "notional"])
    with ExitStack() as stack:
        if scheduler is None:
            two = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
            scheduler = stack.enter_context(two).scheduler_address
        stack.enter_context(Client(scheduler))
        print(json.dumps({"market": market, "month": month, **month_of(trades, book)}, indent=2))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
