"""One InfluxDB server, by whichever of its doors it has: ``/api/v2/write`` (1.8, 2.x, 3.x, Cloud) or ``/write`` (1.x).

All requests go through ``influxdb-client``'s asyncio client, by ``call_api``: its ``write`` answers False for what it
does not know, follows a redirect as a GET, and compresses on the event loop (reference influxdb, section 4).
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msgspec
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from sentinel.command.foreign import hushed
from sentinel.config import Influx
from sentinel.errors import SentinelError, UsageError
from sentinel.influx.answers import Later, Outcome, Unanswered, is_bucket_missing, outcome_of, words_of
from sentinel.timing.instants import NS_PER_S

COMPRESSION_LEVEL = 1
"""Six times as fast as level 9 for a body a quarter larger."""

PAGE = 100
"""The most that the 2.x API gives of a list at once."""

MOST_LISTED = 100_000
"""Names in a list."""

MOST_BYTES = 2**22
"""Of an answer, but for those to queries: ten times a page of a list."""

MOST_BYTES_OF_QUERY = 2**30

PIECE_BYTES = 2**18

Parameters = Sequence[tuple[str, str]]


class InfluxError(SentinelError):
    """The server could not be asked, or does not understand; nothing is lost, as everything is in the journal."""


class NoSuchBucket(InfluxError):
    """The server has no such bucket: with rotation, a month in which nobody collected, or that has expired."""


class NoAnswer(InfluxError):
    """Nothing came in time, or the connection broke: what was asked may have been done all the same."""


class Answer(msgspec.Struct, frozen=True):
    """What came back, whatever it is."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def words(self) -> str:
        return words_of(self.status, self.headers, self.body)


class Server:
    """``async with Server(settings, clock.now_ns) as server``. The token file is read anew by ``renew``."""

    def __init__(self, settings: Influx, now_ns: Callable[[], int]) -> None:
        if settings.url is None:
            raise UsageError("no InfluxDB: give --influx-url or SENTINEL_INFLUX_URL")
        self.url = settings.url
        self._settings = settings
        self._now_ns = now_ns
        self._client: InfluxDBClientAsync | None = None
        self._token = ""
        self._has_v2: bool | None = None
        self.version = ""

    async def __aenter__(self) -> Server:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _open(self) -> None:
        settings = self._settings
        self._token = token = _token(settings)
        self._client = InfluxDBClientAsync(
            self.url,
            # 1.x knows users and passwords; the client wants some token whatever the server wants
            token=token or "none",
            org=settings.org or "-",
            auth_basic=":" in token,
            timeout=round(settings.timeout_s * 1000),
            ssl_ca_cert=None if settings.ca_file is None else str(settings.ca_file),
            connection_pool_maxsize=settings.concurrency + 2,
            allow_redirects=False,  # a POST would be followed as a GET
        )

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def renew(self) -> None:
        """Looks again at what may have been put right: the token in the file, the server behind the address."""
        self._has_v2 = None
        if _token(self._settings) != self._token:
            old = self._client
            self._open()  # first, as other requests are under way
            if old is not None:
                await old.close()

    async def write(self, bucket: str, body: bytes) -> Outcome:
        """Writes lines of nanosecond points joined by newlines; never raises for what a server may do."""
        headers = {"Content-Type": "text/plain; charset=utf-8", "Accept": "application/json"}
        if self._settings.gzip:
            body = await asyncio.to_thread(gzip.compress, body, COMPRESSION_LEVEL)
            headers["Content-Encoding"] = "gzip"
        try:
            path, parameters = await self._door(bucket)
        except InfluxError as error:
            return Later(str(error))
        try:
            answer = await self._call("POST", path, parameters, headers, body)
        except NoAnswer as error:
            return Unanswered(str(error))
        except InfluxError as error:
            return Later(str(error))
        return outcome_of(answer.status, answer.headers, answer.body, self._now_ns() / NS_PER_S)

    async def _door(self, bucket: str) -> tuple[str, Parameters]:
        if await self.has_v2():
            return "/api/v2/write", [("org", self._settings.org or "-"), ("bucket", bucket), ("precision", "ns")]
        database, _, policy = bucket.partition("/")
        named = [("rp", policy)] if policy else []
        return "/write", [("db", database), *named, ("precision", "n")]

    async def has_v2(self) -> bool:
        """Whether the server writes through ``/api/v2/write``; asked once.

        Raises:
            InfluxError: if the server does not answer.
        """
        if self._has_v2 is None:
            ping = await self._call("GET", "/ping")
            if ping.status >= 500:
                raise InfluxError(f"{self.url}/ping: {ping.words}")
            self.version = ping.headers.get("X-Influxdb-Version", "")
            self._has_v2 = not self.version.lstrip("v").startswith("1.") or await self._has_v2_beside_v1()
        return self._has_v2

    async def _has_v2_beside_v1(self) -> bool:
        """1.8 has both doors, 1.6 answers 404 in plain text to the second."""
        parameters = [("org", "-"), ("bucket", self._settings.bucket_trades), ("precision", "ns")]
        answer = await self._call("POST", "/api/v2/write", parameters, {"Content-Type": "text/plain"}, b"")
        if answer.status >= 500:
            raise InfluxError(f"{self.url}/api/v2/write: {answer.words}")
        return answer.status != 404 or not answer.body.startswith(b"404 page not found")

    async def query(self, statements: str, database: str = "", policy: str = "") -> list[dict[str, Any]]:
        """The results of InfluxQL statements, one each and whole; times are nanoseconds.

        Asked for in chunks: a server with a limit on rows (``max-row-limit``) gives only so many in one piece.

        Raises:
            UsageError: if the server refuses who is asking.
            NoSuchBucket: if it does not know the database or bucket.
            InfluxError: if it does not answer, or not with results.
        """
        named = [(name, value) for name, value in (("db", database), ("rp", policy)) if value]
        parameters = [*named, ("epoch", "ns"), ("chunked", "true"), ("q", statements)]
        method = "GET" if statements.lstrip().upper().startswith(("SELECT", "SHOW")) else "POST"
        headers = {"Accept": "application/json"}
        answer = await self._call(method, "/query", parameters, headers, most_bytes=MOST_BYTES_OF_QUERY)
        if answer.status in (401, 403):
            raise UsageError(f"{self.url} refuses: {answer.words}")
        try:
            chunks = [
                result for chunk in msgspec.json.Decoder().decode_lines(answer.body) for result in chunk["results"]
            ]
        except (msgspec.DecodeError, KeyError, TypeError):
            chunks = []
        if not chunks:
            kind = NoSuchBucket if answer.status == 404 else InfluxError
            raise kind(f"{self.url}/query: {answer.words}")
        for chunk in chunks:
            if "error" in chunk:
                kind = NoSuchBucket if is_bucket_missing(chunk["error"]) else InfluxError
                raise kind(f"{self.url}/query: {chunk['error']}")
        results = joined(chunks)
        if any(result.get("partial") for result in results):
            raise InfluxError(f"{self.url}/query: only part of the answer arrived")
        return results

    async def api(self, method: str, path: str, parameters: Parameters = (), body: object = None) -> Any:
        """A call of the 2.x API with JSON both ways.

        Raises:
            UsageError: if the server refuses who is asking.
            InfluxError: if it does not answer, or refuses what is asked.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = await self._call(method, path, parameters, headers, body)
        if answer.status in (401, 403):
            raise UsageError(f"{self.url} refuses: {answer.words}")
        if answer.status >= 300:
            raise InfluxError(f"{self.url}{path}: {answer.words}")
        try:
            return msgspec.json.decode(answer.body) if answer.body else None
        except msgspec.DecodeError:
            raise InfluxError(f"{self.url}{path}: this is not JSON: {answer.words}") from None

    async def pages(self, path: str, parameters: Parameters, name: str) -> list[dict[str, Any]]:
        """Everything of a list of the 2.x API, which gives at most ``PAGE`` at a time.

        Raises:
            UsageError: if the server refuses who is asking.
            InfluxError: if it does not answer, or not with a list.
        """
        found: dict[str, dict[str, Any]] = {}
        asked = {"limit": str(PAGE), "offset": "0"}
        while True:
            answer = await self.api("GET", path, [*parameters, *asked.items()])
            try:
                page = {entry.get("id") or entry["name"]: entry for entry in answer[name]}
                links = answer.get("links") or {}
                following = links.get("next")
            except (KeyError, TypeError, AttributeError):
                raise InfluxError(f"{self.url}{path}: the answer is not a list of {name}") from None
            is_done = page.keys() <= found.keys()
            found |= page
            if len(found) > MOST_LISTED:
                raise InfluxError(f"{self.url}{path}: a list without an end")
            if following and not is_done:
                own = dict(parameters)
                asked = {key: value for key, value in parse_qsl(urlsplit(following).query) if key not in own}
            elif not is_done and (not links or len(page) >= PAGE):  # it may give fewer at once than we ask for
                asked["offset"] = str(len(found))
            else:
                return list(found.values())

    def _hushed(self, answer: Answer) -> Answer:
        """A refusal without our token: there are proxies that quote the request, and what was said is told to many."""
        headers = {name: hushed(value, *self._secrets) for name, value in answer.headers.items()}
        # latin-1 is every byte as it is
        return Answer(
            answer.status, headers, hushed(answer.body.decode("latin-1"), *self._secrets).encode("latin-1", "replace")
        )

    async def _call(
        self,
        method: str,
        path: str,
        parameters: Parameters = (),
        headers: dict[str, str] | None = None,
        body: object = None,
        most_bytes: int = MOST_BYTES,
    ) -> Answer:
        assert self._client is not None, "use async with"
        try:
            response: aiohttp.ClientResponse = await self._client.api_client.call_api(
                path, method, query_params=list(parameters), header_params=headers or {}, body=body,
                _preload_content=False,
            )  # fmt: skip
            async with response:
                content = bytearray()
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    content += piece
                    if len(content) > most_bytes:
                        raise NoAnswer(f"{self.url}{path}: an answer of more than {most_bytes} bytes")
                answer = Answer(response.status, dict(response.headers), bytes(content))
                return answer if answer.status < 300 else self._hushed(answer)
        except TimeoutError:
            raise NoAnswer(f"{self.url}: no answer within {self._settings.timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise InfluxError(f"{self.url}: {error}") from error
        except (aiohttp.ClientError, OSError) as error:  # it may quote what came
            raise NoAnswer(f"{self.url}: {type(error).__name__}: {hushed(str(error), *self._secrets)}") from None
        except ApiException as error:
            raise InfluxError(f"{self.url}: {hushed(str(error.reason), *self._secrets)}") from None
        except ValueError as error:  # a token that no header can hold, an address that is none
            raise InfluxError(f"{self.url}: {hushed(str(error), *self._secrets)}") from None

    @property
    def _secrets(self) -> tuple[str, str]:
        """The token; of ``user:password`` the second."""
        return self._token, self._token.partition(":")[2]


def joined(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of statements from the chunks they came in: rows of a series that goes on are one series.

    ``partial`` is what the last chunk of a result says: that there would be more.
    """
    results: dict[int, dict[str, Any]] = {}
    for place, chunk in enumerate(chunks):
        parts = chunk.get("series", [])
        result = results.setdefault(chunk.get("statement_id", place), {})
        result["partial"] = bool(chunk.get("partial") or (parts and parts[-1].get("partial")))
        for part in parts:
            series = result.setdefault("series", [])
            if series and _title(series[-1]) == _title(part):
                series[-1].setdefault("values", []).extend(part.get("values", []))
            else:
                series.append(part)
    return list(results.values())


def _title(series: dict[str, Any]) -> tuple[object, ...]:
    return series.get("name"), series.get("tags"), series.get("columns")


def _token(settings: Influx) -> str:
    """The file's content wins, as it is now: a token may be replaced while we run."""
    if settings.token_file is not None:
        try:
            return settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            pass  # it was readable at the start; while it is being replaced the last token will do
    return settings.token.get_secret_value() if settings.token else ""
