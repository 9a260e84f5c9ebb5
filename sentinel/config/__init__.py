"""Every setting: its name, its default and what it may be. The sections of venues are those of the catalogue."""

from __future__ import annotations

import platform
import typing
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, create_model, model_validator
from pydantic import field_validator as validates

from book.bins import DEFAULT_EDGES_BPS
from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.rest import ProductKind
from feeds.settings import FromWords, HttpUrl, SecretUrl, Strict, VenueSettings
from feeds.venue import Venue
from sentinel.command.near import respelled, suggestion
from sentinel.config.address import MOST_PORT, http_address

ALL = "all"
"""The pattern for everything that a venue lists."""

GLOB = frozenset("*?[")
CURRENCY = r"^[A-Z0-9.]+$"
COLLECTOR = r"^[!-~]+$"
TOKEN = r"^[A-Za-z0-9_-]+$"
MAIL = r"^[^@\s,;<>]+@[^@\s,;<>]+$"
SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}
NATS_URL = r"^(nats|tls)://[^\s/@]+$"
"""Without a user: secrets have settings of their own, and an address may be logged."""

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def is_file(path: Path) -> bool:
    """Whether there is one. There is none by a name that is too long, or where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


HOLDS_A_SECRET = "holds a secret"
SecretFile = Annotated[Path, HOLDS_A_SECRET]
"""A file that is a secret as it is, and that a library reads; ``name_file`` beside a secret ``name`` is one, too."""


def bare_types(annotation: Any) -> tuple[Any, ...]:
    """What a setting may be, without what its type says besides."""
    is_union = isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union
    members = typing.get_args(annotation) if is_union else (annotation,)
    return tuple(typing.get_args(each)[0] if typing.get_origin(each) is Annotated else each for each in members)


def is_secret_file(section: type[Section], name: str) -> bool:
    """Whether the file that this setting names holds a secret."""
    field, content = section.model_fields[name], section.model_fields.get(name.removesuffix("_file"))
    if name.endswith("_file") and content is not None and SecretStr in bare_types(content.annotation):
        return True
    marked = (*field.metadata, *(mark for each in typing.get_args(field.annotation) for mark in _marks(each)))
    return HOLDS_A_SECRET in marked


def _marks(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()


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

    @model_validator(mode="after")
    def _no_empty_secret(self) -> Self:
        """Such as a variable that was never filled: everybody knows it, and an API guarded by it is open."""
        for name, value in self:
            if isinstance(value, SecretStr) and not value.get_secret_value().strip():
                given = f"{name}_file" if getattr(self, f"{name}_file", None) is not None else name
                raise ValueError(f"{given} is empty: write the secret, or leave the setting out")
        return self


class Venues(Section):
    """A section for each venue of the catalogue, by exchange."""

    def __getitem__(self, exchange: str) -> VenueSettings:
        settings: VenueSettings = getattr(self, exchange)
        return settings


class Select(Section):
    """Which of the products that a pattern matches are collected. Products that are named are always collected."""

    quotes: Annotated[tuple[Annotated[str, Field(pattern=CURRENCY)], ...], FromWords] = ()
    """Only those quoted in one of these currencies, such as ``USD``."""
    kinds: Annotated[tuple[ProductKind, ...], FromWords] = ()
    """Only these kinds: ``spot``, ``perpetual``, ``future``, ``option``, ``other``."""
    status: Literal["listed", "trading"] = "listed"
    """With ``trading``, a halted product is not collected until it trades."""


class Feeds(Section):
    """How products are spread over connections."""

    connections: int = Field(default=1, ge=1, le=2)
    """2 opens every connection twice, so that losing one costs nothing."""
    products_per_connection: int = Field(default=20, ge=1)
    """Books on one connection, never more than the venue allows. A hole may cost every book of its connection."""
    max_connection_age_s: float | None = Field(default=None, ge=60)
    """A connection of this age is replaced by one opened beforehand; earlier, if the venue ends connections by age."""
    comparison_interval_s: float = Field(default=60, ge=0)
    """How often each book without numbers is compared with REST's; 0: never."""
    share: float = Field(default=1, gt=0, le=1)
    """Our share of the requests and connections that a venue allows an address: 0.5 if two collectors share it."""


class Book(Section):
    """How books are sampled."""

    cadence_ms: int = Field(default=100, ge=10, le=60_000)
    """Time between two samples."""
    edges_bps: Annotated[tuple[Annotated[Decimal, Field(gt=0)], ...], FromWords] = Field(
        default=tuple(Decimal(edge.numerator) / edge.denominator for edge in DEFAULT_EDGES_BPS), min_length=1
    )
    """The bins: each holds every level within this many basis points of mid."""


class Journal(Section):
    """How long lines stay on local disk. Without limits they stay for good: with no other store, this is the store."""

    max_age_s: float | None = Field(default=None, gt=0)
    """Lines older than this are dropped once every sink has them."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest lines are dropped, once every sink has them."""
    memory_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    """How much is kept in memory while the disk refuses lines; beyond that the data has a gap with cause ``disk``."""


class Archive(Section):
    """A Parquet file for every hour; whole days are removed when they are too old or take too much space."""

    is_enabled: bool = True
    """Whether hours are archived as Parquet."""
    interval_s: float = Field(default=300, ge=1)
    """How often to look for hours that have ended and can be archived."""
    max_age_s: float | None = Field(default=None, gt=0)
    """Older days leave the local disk; with ``url``, not before the object store has them, and it keeps them."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest days leave the local disk, in the same way."""
    is_hourly: bool = True
    """Whether ``deliver archive`` waits until an hour is over; if not, it writes what it has every ``interval_s``."""
    url: str | None = Field(default=None, pattern=r"^(s3://[^@\s]+|file:///\S+)$")
    """``s3://bucket/prefix``, where archive and certificates are also sent. Keys: ``AWS_ACCESS_KEY_ID`` and so on."""


class Tape(Section):
    """When the next tape file begins, and how long files are kept."""

    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    """A file of this size is closed and the next one begun."""
    max_age_s: float = Field(default=3600, ge=1)
    """A file of this age is closed and the next one begun."""
    keep_archived_s: float = Field(default=86_400, ge=0)
    """Files that ended longer ago than this are removed once all they hold is archived and verified; inf: never."""
    keep_s: float | None = Field(default=None, gt=0)
    """Files that ended longer ago are removed. Without its first file, the rest of a run cannot be replayed."""
    keep_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest files are removed."""


class Repair(Section):
    """Fetching missing trades."""

    requests_per_s: float = Field(default=5, gt=0)
    """Requests a second for all products of a venue together; never more than it allows one address."""
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
    """``monthly`` puts the points of each month into their own bucket, ``name_2026_11``."""
    retention_s: float | None = Field(default=None, ge=3600)
    """How long a bucket that we make keeps points if its own setting below is absent; for good if this is, too."""
    retention_trades_s: float | None = Field(default=None, ge=3600)
    """How long ``bucket_trades`` keeps points; inf: for good. ``buckets ensure`` tells if it does not."""
    retention_book_s: float | None = Field(default=None, ge=3600)
    """How long ``bucket_book`` keeps points, likewise."""
    batch_points: int = Field(default=5000, ge=1, le=1_000_000)
    """The most points in one request."""
    interval_s: float = Field(default=1.0, gt=0)
    """New lines are sent at least this often."""
    concurrency: int = Field(default=2, ge=1, le=32)
    """How many requests are made at once."""
    timeout_s: float = Field(default=10.0, gt=0)
    """How long one request may take."""
    gzip: bool = False
    """Whether requests are compressed."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ca_file is not None and not is_file(self.ca_file):
            raise ValueError(f"ca_file: no such file: {self.ca_file}")
        own = self.retention_trades_s or self.retention_s, self.retention_book_s or self.retention_s
        if self.bucket_trades == self.bucket_book and own[0] != own[1]:
            raise ValueError("retention_trades_s and retention_book_s differ, but both are of one bucket")
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
    """A member not heard of for this long is taken for dead, and others take over its markets."""
    address: str | None = Field(default=None, pattern=COLLECTOR)
    """The same word for members with the same public address, which share what venues allow it. Default: host name."""
    partitions: int = Field(default=16, ge=1, le=1024)
    """Into how many parts the markets are divided for the archive's workers; fixed when the stream is created."""
    stream_replicas: int = Field(default=3, ge=1, le=5)
    """How many servers keep each line."""
    stream_max_age_s: float = Field(default=259_200, gt=60)
    """How long the servers keep lines, and so how long a worker may be away."""
    stream_max_bytes: int | None = Field(default=None, gt=0)
    """The most that the servers keep; beyond it the oldest lines go."""
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
    nkey_file: SecretFile | None = None
    """A file with the seed of an NKey."""
    creds_file: SecretFile | None = None
    """A credentials file, as ``nsc`` writes it."""
    ca_file: Path | None = None
    """A certificate authority to trust, PEM."""
    cert_file: Path | None = None
    """Our own certificate, PEM, for servers that require one."""
    key_file: SecretFile | None = None
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
            raise ValueError(f"{' and '.join(given)}: only one of them can identify us")
        for name in ("nkey_file", "creds_file", "ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path is not None and not is_file(path):
                raise ValueError(f"{name}: no such file: {path}")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class Alerts(Section):
    """When and where an operator is told. A condition must last a while to be raised, and be gone a while to clear."""

    webhook_url: SecretUrl | None = None
    """Alerts are posted here."""
    webhook_url_file: Path | None = None
    """A file that holds ``webhook_url``."""
    webhook_shape: Literal["json", "slack"] = "json"
    """The format of what is posted: our JSON, or Slack's."""
    raise_after_s: float = Field(default=5, ge=0)
    """How long a condition must have lasted to be raised."""
    clear_after_s: float = Field(default=10, ge=0)
    """How long a condition must have been gone to be cleared."""
    silence_s: float = Field(default=5, gt=0)
    """Raised when nothing has arrived on a connection for this long."""
    gap_s: float = Field(default=60, gt=0)
    """Raised when a gap of the book has been open for this long."""
    sink_behind_s: float = Field(default=15, gt=0)
    """Raised when the oldest line has waited for a sink this much longer than is normal for that sink."""
    backlog_lines: int | None = Field(default=None, ge=1)
    """Has no effect; accepted from older configurations. See ``sink_behind_s``."""
    disk_free_bytes: int = Field(default=2_000_000_000, ge=0)
    """Raised when less than this is free on the disk with the data."""
    clock_step_ms: int = Field(default=500, ge=1)
    """Raised when the wall clock has stepped by more than this."""
    lateness_ms: float = Field(default=2_000, gt=0)
    """Raised when the 99th percentile of the samples' lateness is above this."""


class Report(Section):
    """Where ``gap-report --send`` sends the report: by mail if there is a ``smtp_server``, to a webhook, or both."""

    smtp_server: str | None = Field(default=None, pattern=r"^[^\s/@:]+(:\d{1,5})?$")
    """The mail server, ``HOST`` or ``HOST:PORT``: else port 587 with ``starttls``, 465 with ``tls``, 25 without."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """How mail is kept private on its way: TLS after a greeting, TLS from the start, or not at all."""
    smtp_user: str | None = None
    """Who we are to the mail server, if it asks."""
    smtp_password: SecretStr | None = None
    """The user's password."""
    smtp_password_file: Path | None = None
    """A file that holds ``smtp_password``."""
    smtp_ca_file: Path | None = None
    """A certificate authority to trust, PEM."""
    mail_from: str | None = Field(default=None, pattern=MAIL)
    """The sender. Else the first of ``mail_to``."""
    mail_to: Annotated[tuple[Annotated[str, Field(pattern=MAIL)], ...], FromWords] = ()
    """Who gets the report by mail."""
    webhook_url: SecretUrl | None = None
    """The report's figures are posted here, without the single gaps."""
    webhook_url_file: Path | None = None
    """A file that holds ``webhook_url``."""
    webhook_shape: Literal["json", "slack"] = "json"
    """What is posted: our JSON, or what Slack takes."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.smtp_server is None) != (not self.mail_to):
            raise ValueError("smtp_server and mail_to belong together")
        if self.smtp_address[1] > MOST_PORT:
            raise ValueError(f"smtp_server: {self.smtp_address[1]} is not a port: they end at {MOST_PORT}")
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password belong together")
        if self.smtp_password is not None and self.smtp_security == "none" and self.smtp_address[0] not in LOOPBACK:
            raise ValueError("smtp_password would be readable on its way: set smtp_security")
        if self.smtp_ca_file is not None and not is_file(self.smtp_ca_file):
            raise ValueError(f"smtp_ca_file: no such file: {self.smtp_ca_file}")
        return self

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Host and port of the mail server."""
        host, _, port = (self.smtp_server or "").partition(":")
        return host, int(port or SMTP_PORTS[self.smtp_security])


class Config(Section):
    """The whole configuration. ``venues`` has its sections in the subclass that ``whole`` makes."""

    products: Annotated[tuple[str, ...], FromWords] = ()
    """What to collect: ``BTC-USD``, ``exchange:symbol``, or patterns for what venues list; the command line wins."""
    data_dir: Path = Path("data")
    """Where journal, tapes and archive are kept."""
    collector: str = Field(default_factory=lambda: platform.node() or "sentinel", pattern=COLLECTOR)
    """The name of this collector, a tag of ``gaps`` and ``coverage``. Default: the host's name at the first start."""
    http: Annotated[str, BeforeValidator(http_address)] | None = None
    """``HOST:PORT`` at which to serve status, metrics and the live page; if not set, they are not served."""
    http_token: SecretStr | None = None
    """The bearer token that clients must send; required on any address but loopback."""
    http_token_file: Path | None = None
    """A file that holds ``http_token``."""
    record: bool = True
    """Whether every frame is kept on a tape, for replay and for the archive of every change of the books."""
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
    report: Report = Report()

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
    if not is_pattern(market.symbol) and not venue.is_symbol(market.symbol):
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
