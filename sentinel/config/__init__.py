"""Every setting: its name, its default and what it may be. The sections of venues are those of the catalogue."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, create_model, model_validator
from pydantic import field_validator as validates

from book.bins import DEFAULT_EDGES_BPS
from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.rest import ProductKind
from feeds.settings import FromWords, HttpUrl, Strict, VenueSettings
from feeds.venue import Venue
from sentinel.command.near import respelled, suggestion
from sentinel.config.address import http_address

ALL = "all"
"""The pattern for everything that a venue lists."""

GLOB = frozenset("*?[")
CURRENCY = r"^[A-Z0-9.]+$"
COLLECTOR = r"^[!-~]+$"
TOKEN = r"^[A-Za-z0-9_-]+$"
NATS_URL = r"^(nats|tls)://[^\s/@]+$"
"""Without a user: secrets have settings of their own, and an address may be logged."""

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Section(Strict):
    """A table of the TOML file."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        """Fills ``name`` from the file that ``name_file`` points at, as container platforms mount secrets."""
        if not isinstance(given, dict):
            return given
        read = {}
        for name in cls.model_fields:
            path = given.get(f"{name}_file")
            if f"{name}_file" not in cls.model_fields or not isinstance(path, str | Path):
                continue
            if given.get(name) is not None:
                raise ValueError(f"has both {name} and {name}_file")
            try:
                read[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}_file: {getattr(error, 'strerror', 'no text')}: {path}") from error
        return given | read


class Venues(Section):
    """A section for each venue of the catalogue, by exchange."""

    def __getitem__(self, exchange: str) -> VenueSettings:
        settings: VenueSettings = getattr(self, exchange)
        return settings


class Select(Section):
    """Which of the products that a pattern matches are collected. Those that are named are collected in any case."""

    quotes: Annotated[tuple[Annotated[str, Field(pattern=CURRENCY)], ...], FromWords] = ()
    """Only those quoted in one of these currencies, such as ``USD``."""
    kinds: Annotated[tuple[ProductKind, ...], FromWords] = ()
    """Only these kinds: ``spot``, ``perpetual``, ``future``, ``option``, ``other``."""
    status: Literal["listed", "trading"] = "listed"
    """With ``trading``, what is halted is taken in only once it trades."""


class Feeds(Section):
    """How products are spread over sockets."""

    connections: int = Field(default=1, ge=1, le=2)
    """2 opens every connection twice, so that losing one costs nothing."""
    products_per_connection: int = Field(default=20, ge=1)
    """Books on one connection, never more than the venue takes. A hole may cost all books of its connection."""
    max_connection_age_s: float | None = Field(default=None, ge=60)
    """A connection so old is replaced, its successor first; where the venue ends them by age, earlier than it."""
    comparison_interval_s: float = Field(default=60, ge=0)
    """How often a book without numbers is compared with REST's, each product; 0: never."""
    share: float = Field(default=1, gt=0, le=1)
    """Of what the venue allows one address, in requests and connections: 0.5 for each of two collectors behind it."""


class Book(Section):
    """How books are sampled."""

    cadence_ms: int = Field(default=100, ge=10, le=60_000)
    """Time between two samples."""
    edges_bps: Annotated[tuple[Annotated[Decimal, Field(gt=0)], ...], FromWords] = Field(
        default=tuple(Decimal(edge.numerator) / edge.denominator for edge in DEFAULT_EDGES_BPS), min_length=1
    )
    """A bin holds every level within so many basis points of mid."""


class Journal(Section):
    """How long lines stay on local disk. Without limits they stay for good: with no other store, this is the store."""

    max_age_s: float | None = Field(default=None, gt=0)
    """Older lines are dropped once every sink has them."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest lines are dropped, once every sink has them."""
    memory_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    """How much is kept in memory while the disk refuses it; beyond that the data shows a gap with cause ``disk``."""


class Archive(Section):
    """Parquet files of every hour; days go as a whole when they are too old or too much."""

    is_enabled: bool = True
    """Whether hours are archived as Parquet at all."""
    interval_s: float = Field(default=300, ge=1)
    """How often hours that have ended are looked for, to be archived."""
    max_age_s: float | None = Field(default=None, gt=0)
    """Days older than this are removed here; with ``url`` not before the object store has them, where they stay."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest days are removed here, likewise."""
    is_hourly: bool = True
    """Whether ``deliver archive`` waits until an hour is over; if not, it writes what there is each ``interval_s``."""
    url: str | None = Field(default=None, pattern=r"^(s3://[^@\s]+|file:///\S+)$")
    """``s3://bucket/prefix``, where archive and certificates go, too. Keys are in ``AWS_ACCESS_KEY_ID`` and so on."""


class Tape(Section):
    """When a tape file is full and the next one begins, and how long files stay."""

    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    """A file this large is closed and the next one begun."""
    max_age_s: float = Field(default=3600, ge=1)
    """A file this old is closed and the next one begun."""
    keep_archived_s: float = Field(default=86_400, ge=0)
    """Files that ended longer ago are removed once all they hold is archived and verified; inf: they stay."""
    keep_s: float | None = Field(default=None, gt=0)
    """Files that ended longer ago are removed. What is left of a run cannot be replayed without its first file."""
    keep_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest files are removed."""


class Repair(Section):
    """Fetching missing trades."""

    requests_per_s: float = Field(default=5, gt=0)
    """Requests a second, over all products of a venue together; never more than it allows one address."""
    timeout_s: float = Field(default=10, gt=0)
    """How long one request may take."""


class Influx(Section):
    """InfluxDB, if there is one."""

    url: HttpUrl | None = None
    """Address of the server; its version is detected."""
    token: SecretStr | None = None
    """An API token, or ``user:password`` for 1.x."""
    token_file: Path | None = None
    """A file that holds ``token``; it is read again when the server refuses the token."""
    org: str | None = None
    """The organisation, for 2.x."""
    bucket_trades: str = Field(default="sentinel_trades", min_length=1)
    """Where trades go: ``name``, or ``database/policy`` for 1.x."""
    bucket_book: str = Field(default="sentinel_book", min_length=1)
    """Where everything else goes."""
    ca_file: Path | None = None
    """A certificate authority to trust, PEM."""
    rotation: Literal["none", "monthly"] = "none"
    """``monthly`` puts the points of each month into a bucket of their own, ``name_2026_11``."""
    retention_s: float | None = Field(default=None, ge=3600)
    """How long the buckets we create keep their points; for good if not set."""
    batch_points: int = Field(default=5000, ge=1, le=1_000_000)
    """The most points in one request."""
    interval_s: float = Field(default=1.0, gt=0)
    """New lines are sent at least so often."""
    concurrency: int = Field(default=2, ge=1, le=32)
    """How many requests are under way at once."""
    timeout_s: float = Field(default=10.0, gt=0)
    """How long one request may take."""
    gzip: bool = False
    """Whether requests are compressed."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ValueError(f"ca_file: no such file: {self.ca_file}")
        return self


class Cluster(Section):
    """Many machines as one, on NATS JetStream; without ``servers`` this machine is alone."""

    servers: Annotated[tuple[Annotated[str, Field(pattern=NATS_URL)], ...], FromWords] = ()
    """Addresses of the NATS servers, the same for every member: ``nats://a:4222``, or ``tls://a:4222``."""
    name: str = Field(default="sentinel", pattern=TOKEN)
    """Which cluster this is, if several use the same servers."""
    replicas: int = Field(default=1, ge=1, le=5)
    """How many members collect each market."""
    lease_s: float = Field(default=6, ge=2, le=60)
    """A member that has not been heard of for so long is taken for dead, and others take over its markets."""
    address: str | None = Field(default=None, pattern=COLLECTOR)
    """What members with one public address have in common: they share what venues allow it. Else the host's name."""
    partitions: int = Field(default=16, ge=1, le=1024)
    """Into how many parts the markets are dealt for the archive's workers; fixed when the stream is made."""
    stream_replicas: int = Field(default=3, ge=1, le=5)
    """How many servers keep each line."""
    stream_max_age_s: float = Field(default=259_200, gt=60)
    """How long the servers keep lines, so long may every worker be away."""
    stream_max_bytes: int | None = Field(default=None, gt=0)
    """How much the servers keep of them at most."""
    user: str | None = None
    """A user of the servers."""
    password: SecretStr | None = None
    """The user's password."""
    password_file: Path | None = None
    """A file that holds ``password``."""
    token: SecretStr | None = None
    """A token instead of a user."""
    token_file: Path | None = None
    """A file that holds ``token``."""
    nkey_file: Path | None = None
    """A file with the seed of an NKey."""
    creds_file: Path | None = None
    """A credentials file, as ``nsc`` makes them."""
    ca_file: Path | None = None
    """A certificate authority to trust, PEM."""
    cert_file: Path | None = None
    """Our own certificate, PEM, for servers that ask for one."""
    key_file: Path | None = None
    """Its key, PEM."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        given = [
            name
            for name, value in (
                ("user", self.user),
                ("token", self.token),
                ("nkey_file", self.nkey_file),
                ("creds_file", self.creds_file),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: only one of them can say who we are")
        for name in ("nkey_file", "creds_file", "ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name}: no such file: {path}")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class Alerts(Section):
    """When an operator is told, and where. A condition must last to be raised, and be gone to be cleared."""

    webhook_url: HttpUrl | None = None
    """Alerts are posted here."""
    webhook_shape: Literal["json", "slack"] = "json"
    """What is posted: our JSON, or what Slack takes."""
    raise_after_s: float = Field(default=5, ge=0)
    """How long a condition must have lasted to be raised."""
    clear_after_s: float = Field(default=10, ge=0)
    """How long a condition must have been gone to be cleared."""
    silence_s: float = Field(default=5, gt=0)
    """Raised when nothing has come on a connection for this long."""
    gap_s: float = Field(default=60, gt=0)
    """Raised when a gap of the book has been open for this long."""
    sink_behind_s: float = Field(default=15, gt=0)
    """Raised when the oldest line has waited for a sink this much longer than it does by design."""
    backlog_lines: int | None = Field(default=None, ge=1)
    """Without effect, taken from older configurations: see ``sink_behind_s``."""
    disk_free_bytes: int = Field(default=2_000_000_000, ge=0)
    """Raised when less than this is free where the data is."""
    clock_step_ms: int = Field(default=500, ge=1)
    """Raised when the wall clock has stepped by more than this."""
    lateness_ms: float = Field(default=2_000, gt=0)
    """Raised when the 99th percentile of the samples' lateness is above this."""


class Config(Section):
    """The whole configuration. ``venues`` has its sections in the subclass that ``whole`` makes."""

    products: Annotated[tuple[str, ...], FromWords] = ()
    """What to collect: ``BTC-USD``, ``exchange:symbol``, or patterns for what venues list; the command line wins."""
    data_dir: Path = Path("data")
    """Where journal, tapes and archive are kept."""
    collector: str = Field(default_factory=lambda: platform.node() or "sentinel", pattern=COLLECTOR)
    """Whose accounts these are: the tag of ``gaps`` and ``coverage``. Else the host's name at the first start."""
    http: Annotated[str, BeforeValidator(http_address)] | None = None
    """``HOST:PORT`` where status, metrics and the live page are served; they are not if it is not set."""
    http_token: SecretStr | None = None
    """The bearer token that clients must send; required on any address but loopback."""
    http_token_file: Path | None = None
    """A file that holds ``http_token``."""
    record: bool = True
    """Whether every frame is kept on a tape: for the archive of every change of the books, and for replay."""
    processes: int = Field(default=1, ge=1, le=64)
    """How many processes the products are spread over."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged."""
    venues: Venues = Venues()
    select: Select = Select()
    feeds: Feeds = Feeds()
    book: Book = Book()
    journal: Journal = Journal()
    archive: Archive = Archive()
    tape: Tape = Tape()
    repair: Repair = Repair()
    influx: Influx = Influx()
    cluster: Cluster = Cluster()
    alerts: Alerts = Alerts()

    @validates("products")
    @classmethod
    def _spelled(cls, products: tuple[str, ...]) -> tuple[str, ...]:
        markets, mistakes = dict[str, None](), []
        for product in products:
            try:
                markets[_market(product).short] = None
            except ValueError as error:
                mistakes.append(str(error))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return tuple(markets)

    @property
    def markets(self) -> tuple[Market, ...]:
        """The products that are named, each with its exchange."""
        return tuple(market for market in map(Market.parse, self.products) if not is_pattern(market.symbol))

    @property
    def patterns(self) -> tuple[Market, ...]:
        """The patterns among the products."""
        return tuple(market for market in map(Market.parse, self.products) if is_pattern(market.symbol))

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Those that something is, or may be, collected from."""
        return tuple(sorted({Market.parse(product).exchange for product in self.products}))

    def collecting(self, markets: Iterable[Market]) -> Self:
        """The same with these products, beside the patterns they were chosen by."""
        return self.model_copy(update={"products": tuple(market.short for market in (*markets, *self.patterns))})

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        host = (self.http or "127.0.0.1:0").rpartition(":")[0].strip("[]")
        if host not in LOOPBACK and self.http_token is None:
            raise ValueError(f"http on {host} can be reached from elsewhere: it needs http_token or http_token_file")
        return self


def is_pattern(symbol: str) -> bool:
    """Whether it stands for whatever the venue lists that is like it: ``*-USD``, ``BTC-???``, ``[BE]T*``, ``all``."""
    return symbol == ALL or not GLOB.isdisjoint(symbol)


def _market(product: str) -> Market:
    """Raises ValueError for what is neither a product of a venue that we know nor a pattern for some."""
    market = Market.parse(product)
    venue = VENUES.get(market.exchange)
    if venue is None:
        near = suggestion(market.exchange, VENUES) or f"; known are {', '.join(sorted(VENUES))}"
        raise ValueError(f"{product!r} is of an unknown exchange{near}")
    if not is_pattern(market.symbol) and not venue.symbol.fullmatch(market.symbol):
        meant = respelled(market.symbol, venue.symbol)
        hint = "" if meant is None else f"; did you mean {market._replace(symbol=meant).short}?"
        example = Market(venue.exchange, venue.example).short
        raise ValueError(f"{product!r} is not a product such as {example}{hint}")
    return market


def whole() -> type[Config]:
    """The model of the configuration, with a section for each venue that is in the catalogue now."""
    return _whole(tuple(VENUES.values()))


@cache
def _whole(known: tuple[Venue, ...]) -> type[Config]:
    """Made once for the same venues: to make it takes longer than all else about settings."""
    sections = {
        venue.exchange: create_model(
            venue.settings.__name__, __base__=(Section, venue.settings), __doc__=venue.settings.__doc__
        )
        for venue in known
    }
    fields: dict[str, Any] = {exchange: (section, section()) for exchange, section in sections.items()}
    venues = create_model("Venues", __base__=Venues, **fields)
    return create_model("Config", __base__=Config, venues=(venues, venues()))
