"""Planted secrets: every setting that can hold one does, every server that is told one says it again as loudly as it
can, and then nothing that the commands write, say or show has any of it.

A new secret among the settings is planted by itself; one that needs more than a word has it in ``MADE``. Servers are
parrots (tests/servers/parrot.py), so what is looked for was told, and refused, each time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import aiohttp
import nkeys
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sentinel.config.documents import settings
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import read_tape
from sentinel.simulator.kraken.dialect import KRAKEN
from tests import ROOT
from tests.servers.collector import addresses, collecting, unset_environment
from tests.servers.exchange import trading
from tests.servers.parrot import NATS_INFO, SMTP_HELLO, Parrot
from tests.servers.ports import free_port
from tests.servers.waiting import until

SECRETS = [setting for setting in settings() if setting.is_secret]
IDENTITIES = ("cluster.password", "cluster.token")
"""Only one of which can be used at a time."""


def planted(key: str) -> str:
    """With characters that are written otherwise in addresses, in base64 and in JSON."""
    return f"Pl4nted/{key.replace('.', '+')}=Qx7"


def pem() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


class Planted:
    """The values of settings, and the words that must be nowhere."""

    def __init__(self, hook: int) -> None:
        self.values = {setting.key: planted(setting.key) for setting in SECRETS}
        made = {
            "http_token": "Pl4nted-http-token-Qx7",  # no header takes any character
            "venues.coinbase.advanced_private_key": pem(),
            "venues.coinbase.exchange_secret": base64.b64encode(planted("exchange_secret").encode()).decode(),
            "alerts.webhook_url": f"http://127.0.0.1:{hook}/hook/Pl4ntedAlertQx7?key=Pl4ntedQueryQx7",
            "report.webhook_url": f"http://Pl4ntedUserQx7:Pl4ntedWordQx7@127.0.0.1:{hook}/hook/Pl4ntedReportQx7",
        }
        self.values |= made
        self.proxy, self.s3 = "Pl4ntedProxyQx7", "Pl4ntedS3Qx7"
        self.seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
        words = {self.proxy, self.s3, self.seed}
        words |= {"Pl4ntedAlertQx7", "Pl4ntedQueryQx7", "Pl4ntedUserQx7", "Pl4ntedWordQx7", "Pl4ntedReportQx7"}
        for key, value in self.values.items():
            words |= set(value.splitlines()[1:-1]) if "PRIVATE KEY" in value else {value} if "url" not in key else set()
        self.words = words

    @property
    def forms(self) -> set[bytes]:
        """The words as they are, and as they travel: quoted, in JSON, in hexadecimal and in base64 at any offset."""
        found = set[bytes]()
        for word in self.words:
            raw = word.encode()
            found |= {raw, quote(word, safe="").encode(), quote(word).encode(), quote_plus(word).encode()}
            found |= {raw.hex().encode(), json.dumps(word)[1:-1].encode()}
            for shift in range(3):  # of base64, whatever stands before it
                encoded = base64.b64encode(b"\0" * shift + raw + b"\0" * (-(shift + len(raw)) % 3))
                found.add(encoded[4 if shift else 0 : -4])
        return found


def environment(plants: Planted, identity: str, **ports: int) -> dict[str, str]:
    given = {setting.environment_name: plants.values[setting.key] for setting in SECRETS}
    for setting in SECRETS:
        if setting.key in IDENTITIES and setting.key != identity:
            del given[setting.environment_name]
    given |= {"SENTINEL_CLUSTER_USER": "us"} if identity == "cluster.password" else {}
    return given | {
        "SENTINEL_INFLUX_URL": f"http://127.0.0.1:{ports['http']}",
        "SENTINEL_INFLUX_ORG": "desk",
        "SENTINEL_ARCHIVE_URL": f"s3://bucket/prefix?endpoint=127.0.0.1:{ports['http']}&scheme=http&region=x",
        "SENTINEL_ARCHIVE_INTERVAL_S": "1",
        "SENTINEL_REPORT_SMTP_SERVER": f"127.0.0.1:{ports['mail']}",
        "SENTINEL_REPORT_SMTP_SECURITY": "none",
        "SENTINEL_REPORT_SMTP_USER": "us",
        "SENTINEL_REPORT_MAIL_TO": "ops@example.com",
        "SENTINEL_ALERTS_RAISE_AFTER_S": "0",
        "SENTINEL_COINBASE_ADVANCED_KEY_NAME": "organizations/o/apiKeys/k",
        "SENTINEL_COINBASE_EXCHANGE_KEY": "k",
        "SENTINEL_COINBASE_BOOK": "coinbase_exchange_level2",
        "SENTINEL_BINANCE_URL": "wss://binance.invalid/stream",
        "SENTINEL_BINANCE_REST_URL": "https://binance.invalid",
        "SENTINEL_LOG_LEVEL": "DEBUG",
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": plants.s3,
        "https_proxy": f"http://us:{plants.proxy}@127.0.0.1:{ports['http']}",
        "HTTPS_PROXY": f"http://us:{plants.proxy}@127.0.0.1:{ports['http']}",
        "no_proxy": "127.0.0.1",
    }


Said = list[tuple[str, bytes]]
"""Where it was said, and what."""


async def ran(said: Said, folder: Path, runs: Sequence[tuple[dict[str, str], list[str]]]) -> None:
    """Commands one after the other, each with its settings, in a process with bugs in it: starting Python for each
    would be most of the work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.sentinel.planted_bug", "--", "said.json"),
        env=unset_environment() | {"PYTHONPATH": str(ROOT)}, cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate(json.dumps(runs).encode())
    assert process.returncode == 0, errors.decode()
    done = json.loads((folder / "said.json").read_text())
    assert len(done) == len(runs)
    said += [(f"output of {' '.join(words)}", text.encode()) for (_, words), text in zip(runs, done, strict=True)]
    said += [("stdout", out), ("stderr", errors)]


PAGES = [
    *("/", "/docs", "/openapi.json", "/metrics", "/healthz", "/readyz", "/sentinel/status", "/sentinel/alerts"),
    *("/sentinel/gaps", "/sentinel/report", "/sentinel/book/kraken:BTC%2FUSD", "/sentinel/history/kraken:BTC%2FUSD"),
    *("/nothing", "/sentinel/gaps?since_s=x"),
]


async def look_at_the_api(said: Said, address: str, token: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path in PAGES:
            for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Accept": "text/html"}):
                async with session.get(f"http://{address}{path}", headers=headers) as answer:
                    said.append((f"GET {path}", await answer.read()))
                    said.append((f"headers of {path}", repr(answer.raw_headers).encode()))
        async with session.post(f"http://{address}/", data={"token": token}, allow_redirects=False) as answer:
            assert answer.status == 303
            said.append(("the cookie", repr(answer.raw_headers).encode() + await answer.read()))


def command_lines(pid: int) -> Iterator[bytes]:
    """Of a process, and of all below it that have not ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from command_lines(int(child))
        yield Path(f"/proc/{pid}/cmdline").read_bytes()


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it is, and what those that are compressed say."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        yield str(path), path.read_bytes()
        if path.name == "journal.sqlite3":
            with JournalReader(path) as journal:
                yield f"{path}, lines", b"\n".join(batch.body for batch in journal.batches())
                yield f"{path}, checkpoint", journal.checkpoint() or b""
        elif path.suffix == ".swtape":
            yield f"{path}, frames", b"\n".join(record.payload for record in read_tape(path))
        elif path.suffix == ".parquet":
            yield f"{path}, rows", str(pq.ParquetFile(path).read().to_pylist()).encode()


def found_in(said: Said, plants: Planted) -> list[str]:
    forms = plants.forms
    return [f"{where}: {form!r}" for where, content in said for form in forms if form in content]


COMMANDS = [
    ["alerts", "test"],  # the first two end with a traceback
    ["buckets", "list"],
    ["alerts", "test"],
    ["check-config", "--online"],
    ["gap-report", "--send"],
    ["archive", "--until", "now"],
    ["products", "binance"],
    ["export", "--measurement", "top"],
]


@asynccontextmanager
async def parrots() -> AsyncIterator[tuple[Parrot, Parrot, Parrot]]:
    async with AsyncExitStack() as stack:
        made = Parrot(), Parrot(NATS_INFO), Parrot(SMTP_HELLO)
        for each in made:
            await stack.enter_async_context(each.running())
        yield made


def test_every_secret_is_planted() -> None:
    values = Planted(1).values
    assert set(values) == {setting.key for setting in SECRETS}
    assert len(set(values.values())) == len(values)
    assert all(
        "Pl4nted" in value or "PRIVATE KEY" in value or "exchange_secret" in key for key, value in values.items()
    )


def test_the_search_finds_a_secret_in_any_dress() -> None:
    plants = Planted(1)
    word = plants.values["influx.token"]
    for dressed in (word, quote(word, safe=""), base64.b64encode(f"u:{word}".encode()).decode(), word.encode().hex()):
        assert found_in([("here", f"… {dressed} …".encode())], plants), dressed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
async def test_nothing_written_said_or_shown_has_a_secret_in_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, said = tmp_path / "data", list[tuple[str, bytes]]()
    truth = tmp_path_factory.mktemp("venues")  # which write down what they were told
    async with (
        parrots() as (http, nats, mail),
        trading(["BTC-USD"], truth / "coinbase.jsonl", rate=5) as coinbase,
        trading(["BTC/USD"], truth / "kraken.jsonl", venue=KRAKEN, rate=5) as kraken,
    ):
        plants, address = Planted(http.port), f"127.0.0.1:{free_port()}"
        given = environment(plants, "cluster.password", http=http.port, mail=mail.port)
        given |= addresses(kraken.urls, "kraken") | {"SENTINEL_HTTP": address, "SENTINEL_DATA_DIR": str(data)}
        products = ["BTC-USD", "kraken:BTC/USD", "binance:BTCUSDT"]
        async with collecting(
            coinbase.urls, data, *products, module="tests.sentinel.planted_bug", **given
        ) as collector:
            await until(lambda: "webhook_failed" in collector.errors and "part_failed" in collector.errors)
            await until(lambda: "sink_barred" in collector.errors or "influx" in collector.errors)
            await look_at_the_api(said, address, plants.values["http_token"])
            said += [("the process list", line) for line in command_lines(collector.pid)]
            assert said[-1][1], "the collector itself"
            told = {**given, **addresses(coinbase.urls)}
            running = [["status", "--http", address], ["status", "--format", "json"], ["alerts", "list"]]
            await ran(said, tmp_path, [(told, words) for words in running])
            assert await collector.stop() == 0
        clusters = []
        for identity in IDENTITIES:
            one = environment(plants, identity, http=http.port, mail=mail.port)
            clusters.append(one | {"SENTINEL_CLUSTER_SERVERS": f"nats://127.0.0.1:{nats.port}"})
        (tmp_path / "secret.nk").write_text(plants.seed)
        bare = {"SENTINEL_CLUSTER_SERVERS": f"nats://127.0.0.1:{nats.port}"}
        clusters.append(bare | {"SENTINEL_CLUSTER_NKEY_FILE": "secret.nk"})
        runs = [(told, words) for words in COMMANDS]
        runs += [(one, ["cluster", "status"]) for one in clusters] + [(clusters[0], ["deliver", "influx"])]
        await ran(said, tmp_path, runs)
        (tmp_path / "secret.nk").unlink()
        said += files_below(tmp_path)
    assert found_in(said, plants) == []
    was_told = http.meant + nats.meant + mail.meant
    for key in ("influx.token", *IDENTITIES, "report.smtp_password"):
        assert plants.values[key] in was_told, f"{key} was told to nobody"
    for word in (plants.proxy, "Pl4ntedAlertQx7", "Pl4ntedQueryQx7", "Pl4ntedReportQx7", "Pl4ntedWordQx7"):
        assert word in was_told, f"{word} was told to nobody"
