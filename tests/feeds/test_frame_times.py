"""The venue's own time on the frames of its books, as every recording has it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import zstandard

from feeds.catalogue import venue_of
from tests.captures import capture, lines_of

MS = 1_000_000
Frames = Iterator[tuple[bytes, int]]
"""A frame of a book, and its time as a full decoder reads it."""


def kraken() -> Frames:
    with capture("kraken-python-kraken-sdk/orderbook-v2.json.zst").open("rb") as file:
        told = json.load(io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file)))
    for message in told["updates"]:
        text = message["data"][0]["timestamp"]
        since = datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00Z")
        yield (
            json.dumps(message, separators=(",", ":")).encode(),
            (since.days * 86_400 + since.seconds) * 10**9 + (since.microseconds * 1000),
        )


def binance() -> Frames:
    for line in lines_of("binance-spot-hftbacktest/btcusdt_20240808.jsonl.zst"):
        data: Any = json.loads(line).get("data", {})
        if data.get("e") == "depthUpdate":
            yield line, data["E"] * MS


def okx() -> Frames:
    for line in lines_of("okx-cryptofeed-2022-05-13/raw.jsonl.zst"):
        message = json.loads(line)
        if message.get("arg", {}).get("channel") == "books" and "data" in message:
            yield line, int(message["data"][0]["ts"]) * MS


def deribit() -> Frames:
    for line in lines_of("deribit-cryptofeed-2021-07-22/raw.jsonl.zst"):
        params = json.loads(line).get("params", {})
        if params.get("channel", "").startswith("book."):
            yield line, params["data"]["timestamp"] * MS


RECORDINGS = {
    "kraken": kraken,
    "binance": binance,
    "okx": okx,
    "deribit": deribit,
    "coinbase_derivatives": deribit,
}


@pytest.mark.parametrize("feed", RECORDINGS)
def test_each_frame_of_a_book_has_its_time(feed: str) -> None:
    venue, compared = venue_of(feed), 0
    for frame, time_ns in RECORDINGS[feed]():
        assert venue.frame_ns(feed, frame) == time_ns
        assert venue.frame_ns(feed, json.dumps(json.loads(frame)).encode()) == time_ns, "and with blanks in it"
        compared += 1
    assert compared > 30


def test_microseconds_are_told_from_milliseconds() -> None:
    frame = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208123,"s":"BTCUSDT"}}'
    assert venue_of("binance").frame_ns("binance", frame) == 1_723_161_255_208_123_000


@pytest.mark.parametrize("feed", RECORDINGS)
@pytest.mark.parametrize(
    "frame", [b"", b"pong", b'{"timestamp":0,"ts":"0","E":0}', b'{"timestamp":"no such time at all","ts":"x","E":"x"}']
)
def test_a_frame_without_a_time_has_none(feed: str, frame: bytes) -> None:
    assert venue_of(feed).frame_ns(feed, frame) is None


@pytest.mark.parametrize("feed", RECORDINGS)
def test_no_time_is_more_than_64_bits(feed: str) -> None:
    huge = b"9" * 16
    frame = b'{"timestamp":%s,"ts":"%s","E":%s}' % (huge, huge, huge)
    assert venue_of(feed).frame_ns(feed, frame) is None


@pytest.mark.parametrize(
    ("feed", "frame"), [("okx", b'"ts":"1630048897897"'), ("deribit", b'"timestamp":1630048897897')]
)
def test_a_time_far_from_where_it_usually_is(feed: str, frame: bytes) -> None:
    padding = b" " * 5000
    assert venue_of(feed).frame_ns(feed, padding + frame + padding) == 1_630_048_897_897 * MS
