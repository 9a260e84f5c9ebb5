"""The throw-away dialect as a client sees it: over real sockets, with the faults and the truth of every venue."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect

from sentinel.errors import UsageError
from sentinel.simulator import catalogue, faults
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.command import simulate
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S
from tests.throwaway.simulator.tidepool.dialect import FACTS, TIDEPOOL

Message = dict[str, Any]
MARKET, OTHER = "BTC_USD", "ETH_USD"


@asynccontextmanager
async def joined(exchange: Market, *names: str) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["tidepool"], max_queue=None) as socket:
        await socket.send(json.dumps({"op": "join", "ref": 1, "books": list(names), "prints": list(names)}))
        yield socket


async def next_text(socket: ClientConnection) -> str:
    """What is said next; an ebb is answered."""
    text = str(await socket.recv())
    if '"ebb"' in text:
        await socket.send(json.dumps({"op": "flow", "n": json.loads(text)["n"]}))
    return text


async def hear(socket: ClientConnection, kind: str, count: int) -> list[Message]:
    """So many messages of one kind."""
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            message = json.loads(await next_text(socket))
            if kind in (message.get("t"), message.get("op")):
                heard.append(message)
    return heard


async def get(exchange: Market, path: str) -> Message:
    async with aiohttp.ClientSession() as session, session.get(exchange.urls["rest"] + path) as answer:
        body: Message = await answer.json()
        return body


async def test_a_book_fetched_and_aligned_with_its_changes_is_the_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([MARKET], truth, venue=TIDEPOOL, levels=60, rate=50) as exchange:
        async with joined(exchange, MARKET) as socket:
            frames = await hear(socket, "b", 3)
            snapshot = await get(exchange, f"/book?m={MARKET}")
            while frames[-1]["l"] < snapshot["l"]:
                frames += await hear(socket, "b", 1)
            frames += await hear(socket, "b", 60)
    assert [frame["f"] for frame in frames[1:]] == [frame["l"] + 1 for frame in frames[:-1]]
    assert any(frame["l"] == snapshot["l"] for frame in frames)
    book = {1: dict(snapshot["bid"]), -1: dict(snapshot["ask"])}
    tops = {(top[0] // 1000, *top[1:]) for top in TruthFile(truth, "tidepool").tops[MARKET]}
    for frame in frames:
        if frame["f"] <= snapshot["l"]:
            continue
        for side, price, size in frame["c"]:
            if size:
                book[side][price] = size
            else:
                book[side].pop(price, None)
        bid, ask = max(book[1]), min(book[-1])
        assert (frame["us"], bid, book[1][bid], ask, book[-1][ask]) in tops
    (told,) = TruthFile(truth).snapshots
    assert (told["sequence"], told["connection"]) == (snapshot["l"], None)


async def test_prints_rise_by_one_and_rest_has_them_upward(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([MARKET], truth, venue=TIDEPOOL, levels=60, trade_rate=40) as exchange:
        async with joined(exchange, MARKET) as socket:
            messages = await hear(socket, "p", 1)
            exchange.arm(Fault(kind="hide", count=2))
            messages += await hear(socket, "p", 60)
            heard = [x[0] for message in messages for x in message["x"]]
            (ebb,) = await hear(socket, "ebb", 1)
            exchange.market.trade_rate = 0.0
        await exchange.on_rest(MARKET, heard[0] + 49)
        page = await get(exchange, f"/prints?m={MARKET}&from={heard[0]}&n=50")
    published = TruthFile(truth).trades[MARKET]
    lost = [trade_id for trade_id in range(heard[0], heard[-1]) if trade_id not in heard]
    assert lost == [trade_id for trade_id, fact in published.items() if fact.get("hidden")]
    assert len(lost) == 2
    assert [entry[1] for entry in page["prints"]] == list(range(heard[0], heard[0] + 50))
    assert ebb["last"][MARKET] >= heard[-1]


async def test_who_does_not_answer_is_hung_up_on(tmp_path: Path) -> None:
    async with trading([MARKET], tmp_path / "t", venue=TIDEPOOL, levels=60) as exchange:
        async with joined(exchange, MARKET) as good, joined(exchange, MARKET) as silent:
            await hear(good, "ebb", 6)
            async with asyncio.timeout(LONGEST_S):
                await silent.wait_closed()
            await hear(good, "ebb", 1)
    assert silent.close_code == 4008


@pytest.mark.parametrize("kind", ["drop", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down_by_the_numbers_of_the_market(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([MARKET, OTHER], truth, venue=TIDEPOOL, levels=60, trade_rate=0) as exchange:
        async with joined(exchange, MARKET, OTHER) as socket:
            heard: list[Message] = []
            while {frame["m"] for frame in heard} != {MARKET, OTHER}:
                heard += await hear(socket, "b", 1)
            exchange.arm(Fault(kind=kind, channel="b", product=MARKET, duration_s=0.2))
            async with asyncio.timeout(LONGEST_S):
                while not is_followed(truth, heard):
                    text = await next_text(socket)
                    if text.endswith("}"):  # a truncated one does not
                        heard.append(json.loads(text))
    for written in numbered_faults(truth):
        frames = [frame for frame in heard if frame.get("m") == written["product"]]
        assert (written["fault"], written["feed"]) == (kind, "tidepool")
        before, after = written["sequence_first"] - 1, written["sequence_last"] + 1
        assert before in [frame["l"] for frame in frames]
        assert after in [frame["f"] for frame in frames]
    assert {fact["product"] for fact in numbered_faults(truth)} >= {MARKET}


def numbered_faults(truth: Path) -> list[Message]:
    """All but that a stall swallowed an ebb, which is of no market and has no number."""
    return [fact for fact in TruthFile(truth).faults if fact["product"] is not None]


def is_followed(truth: Path, heard: list[Message]) -> bool:
    """Whether something went wrong, and something that came after it has been heard of each market."""
    facts = numbered_faults(truth)
    newest = {frame["m"]: frame["f"] for frame in heard if frame.get("t") == "b"}
    return bool(facts) and all(newest[fact["product"]] > fact["sequence_last"] for fact in facts)


async def test_a_market_can_be_refused_and_the_rest_is_served(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product="ETH_USD")
    async with trading([MARKET, "ETH_USD"], tmp_path / "t", refusal, venue=TIDEPOOL, levels=60) as exchange:
        async with joined(exchange, MARKET, "ETH_USD", "NO_USD") as socket:
            denied = await hear(socket, "denied", 2)
            (granted,) = await hear(socket, "joined", 1)
    assert [denial["m"] for denial in denied] == ["ETH_USD", "NO_USD"]
    assert granted["books"] == granted["prints"] == [MARKET]


def test_a_fault_that_cannot_happen_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.VENUES, "tidepool", TIDEPOOL)
    path = tmp_path / "faults.toml"
    path.write_text("[[fault]]\nkind = 'jump'\n")
    done = CliRunner().invoke(simulate, ["--venue", "tidepool", "--faults", str(path)])
    assert "'jump' cannot happen here" in str(done.exception)
    path.write_text("[[fault]]\nkind = 'drop'\nfeed = 'advanced'\n")
    done = CliRunner().invoke(simulate, ["--venue", "tidepool", "--faults", str(path)])
    assert "there is no feed 'advanced', only tidepool" in str(done.exception)
    path.write_text("[[fault]]\nkind = 'drop'\nfeed = 'tidepool'\n")
    assert faults.load(path, FACTS.feeds, FACTS.faults, 1, lambda: 0)


def test_a_fault_of_another_venue_does_not_happen_here(tmp_path: Path) -> None:
    path, both = tmp_path / "faults.toml", ("coinbase", "tidepool")
    path.write_text("[[fault]]\nkind = 'jump'\nvenue = 'coinbase'\n[[fault]]\nkind = 'abort'\n")

    def kinds(feeds: tuple[str, ...], possible: frozenset[faults.Kind], venue: str) -> list[str]:
        armed = faults.load(path, feeds, possible, 1, lambda: 0, venue=venue, venues=both)
        return [each.fault.kind for each in armed._armed]

    assert kinds(FACTS.feeds, FACTS.faults, "tidepool") == ["abort"]
    assert kinds(COINBASE.facts.feeds, COINBASE.facts.faults, "coinbase") == ["jump", "abort"]
    path.write_text("[[fault]]\nkind = 'abort'\nvenue = 'reef'\n")
    with pytest.raises(UsageError, match="there is no venue 'reef', only coinbase, tidepool"):
        kinds(FACTS.feeds, FACTS.faults, "tidepool")


def test_several_venues_are_one_command_with_their_addresses_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.VENUES, "tidepool", TIDEPOOL)
    asked = ["--venue", "coinbase, tidepool", "--levels", "60", "--duration", "100ms"]
    named = [
        "--products",
        "coinbase:BTC-USD,tidepool:BTC_USD,tidepool:ETH_USD",
        "--truth",
        str(tmp_path / "truth.jsonl"),
    ]
    done = CliRunner().invoke(simulate, [*asked, *named])
    assert done.exit_code == 0, done.output
    urls = json.loads(done.output)
    assert list(urls) == ["coinbase", "tidepool"]
    assert urls["coinbase"].keys() >= {*COINBASE.facts.feeds, "rest"}
    assert urls["tidepool"].keys() == {"tidepool", "rest"}
    assert len({url.split("/")[2] for own in urls.values() for url in own.values()}) == 2
    for venue, names in (("coinbase", {"BTC-USD"}), ("tidepool", {"BTC_USD", "ETH_USD"})):
        lines = (tmp_path / f"truth-{venue}.jsonl").read_text().splitlines()
        assert {json.loads(line)["product"] for line in lines} == names
    for wrong, words in (
        (["--products", "coinbase:BTC-USD"], "no products of Tidepool"),
        (["--tape", "/dev/null"], "a recording belongs to one venue"),
    ):
        assert words in str(CliRunner().invoke(simulate, [*asked, *wrong]).exception)


def test_a_port_that_is_taken_is_one_line_though_another_venue_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.VENUES, "tidepool", TIDEPOOL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for first in (port, port - 1):
            asked = ["--venue", "coinbase,tidepool", "--levels", "60", "--port", str(first), "--duration", "100ms"]
            done = CliRunner().invoke(simulate, asked)
            assert isinstance(done.exception, UsageError)
            assert "Address already in use" in str(done.exception)


def test_the_command_speaks_the_dialect_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.VENUES, "tidepool", TIDEPOOL)
    done = CliRunner().invoke(simulate, ["--venue", "tidepool", "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    urls = json.loads(done.output)
    assert list(urls) == ["tidepool", "rest"]
    assert urls["tidepool"].endswith("/tidepool")
    done = CliRunner().invoke(simulate, ["--venue", "nowhere"])
    assert "cannot imitate 'nowhere', only coinbase" in str(done.exception)
    done = CliRunner().invoke(simulate, ["--venue", "tidepool", "--tape", "/dev/null"])
    assert "recordings of Tidepool cannot be played" in str(done.exception)
