"""Every setting: its name, its default, where it may come from, and one clear line when it is wrong.

Precedence: flags > environment > ``.env`` > ``sentinel.toml`` > defaults. A setting ``key`` of section ``[section]``
in the TOML file is ``SENTINEL_SECTION_KEY`` in the environment.
"""

from __future__ import annotations

import difflib
import json
import os
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic import field_validator as validates
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from book.bins import DEFAULT_EDGES_BPS
from sentinel.errors import UsageError

CONFIG_FILE = Path("sentinel.toml")
DOTENV_FILE = Path(".env")
ENVIRONMENT_PREFIX = "SENTINEL_"
ECOSYSTEM_NAMES = {"INFLUXDB_V2_URL": "url", "INFLUXDB_V2_TOKEN": "token", "INFLUXDB_V2_ORG": "org"}
"""Names that InfluxDB's own clients read; ours win over them."""

NOT_SETTINGS = {"SENTINEL_CAPTURES"}
"""Environment names of ours that are not for the collector: where the tests find recordings."""

SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")
"""How names end that Kubernetes and Docker make up for a service called ``sentinel…``; no setting's name does."""

NEAR = 0.75
"""Of 1: a name so like a setting's is a misspelt one."""

COLLECTOR = r"^[!-~]+$"
PRODUCT = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")
BookFeed = Literal["coinbase_advanced", "coinbase_exchange_level2", "coinbase_exchange_level2_batch"]
TradeFeed = Literal["coinbase_exchange", "coinbase_advanced"]


LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"is not a {' or '.join(schemes)} URL")
        return url.rstrip("/")

    return AfterValidator(check)


SocketUrl = Annotated[str, _url("ws", "wss")]
HttpUrl = Annotated[str, _url("http", "https")]


def _items(value: object) -> object:
    """A list in the environment is JSON, or words separated by commas or spaces."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return value.replace(",", " ").split()
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is no list: {error}") from error


FromWords = BeforeValidator(_items)


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _read_secret(section: BaseModel, name: str) -> None:
    """Fills ``name`` from the file that ``name_file`` points at, as container platforms mount secrets."""
    path: Path | None = getattr(section, f"{name}_file")
    if path is None:
        return
    if getattr(section, name) is not None:
        raise ValueError(f"has both {name} and {name}_file")
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise ValueError(f"{name}_file: {error.strerror}: {path}") from error
    object.__setattr__(section, name, SecretStr(secret))


class Coinbase(Section):
    """Where the venue is, and keys for those who have them: without keys everything but ``level2`` works."""

    advanced_url: SocketUrl = "wss://advanced-trade-ws.coinbase.com"
    """The WebSocket of Advanced Trade."""
    exchange_url: SocketUrl = "wss://ws-feed.exchange.coinbase.com"
    """The WebSocket of Exchange."""
    rest_url: HttpUrl = "https://api.exchange.coinbase.com"
    """The REST API of Exchange, for repairs and for checking product names."""
    advanced_key_name: str | None = None
    """Name of an Advanced Trade key; none is needed."""
    advanced_private_key: SecretStr | None = None
    """Its private key, PEM."""
    advanced_private_key_file: Path | None = None
    """A file that holds ``advanced_private_key``."""
    exchange_key: str | None = None
    """An Exchange key, for ``feeds.book = coinbase_exchange_level2``."""
    exchange_passphrase: SecretStr | None = None
    """Its passphrase."""
    exchange_passphrase_file: Path | None = None
    """A file that holds ``exchange_passphrase``."""
    exchange_secret: SecretStr | None = None
    """Its secret."""
    exchange_secret_file: Path | None = None
    """A file that holds ``exchange_secret``."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("advanced_private_key", "exchange_passphrase", "exchange_secret"):
            _read_secret(self, name)
        if (self.advanced_key_name is None) != (self.advanced_private_key is None):
            raise ValueError("needs advanced_key_name and advanced_private_key together")
        if len({value is None for value in (self.exchange_key, self.exchange_passphrase, self.exchange_secret)}) > 1:
            raise ValueError("needs exchange_key, exchange_passphrase and exchange_secret together")
        return self


class Feeds(Section):
    """Which streams are collected, and how products are spread over sockets."""

    book: BookFeed = "coinbase_advanced"
    """Where books come from. Only ``coinbase_advanced`` is proved by the venue's own counter."""
    trades: Annotated[frozenset[TradeFeed], NoDecode, FromWords] = Field(
        default=frozenset({"coinbase_exchange", "coinbase_advanced"}), min_length=1
    )
    """Where trades come from; each feed is the other's second witness."""
    connections: int = Field(default=1, ge=1, le=2)
    """2 opens every connection twice, so that losing one costs nothing."""
    products_per_connection: int = Field(default=20, ge=1, le=30)
    """The venue takes at most 30 books on one. A hole costs all books of its connection."""
    max_connection_age_s: float | None = Field(default=None, ge=60)
    """A connection so old is replaced; never, if there is none."""
    comparison_interval_s: float = Field(default=60, ge=0)
    """How often a book without numbers is compared with REST's, each product; 0: never."""
    share: float = Field(default=1, gt=0, le=1)
    """Of what the venue allows one address, in requests and connections: 0.5 for each of two collectors behind it."""

    @property
    def book_venue(self) -> TradeFeed:
        return "coinbase_advanced" if self.book == "coinbase_advanced" else "coinbase_exchange"


class Book(Section):
    """How books are sampled."""

    cadence_ms: int = Field(default=100, ge=10, le=60_000)
    """Time between two samples."""
    edges_bps: Annotated[tuple[Annotated[Decimal, Field(gt=0)], ...], NoDecode, FromWords] = Field(
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
    """Days older than this are removed."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest days are removed."""


class Tape(Section):
    """When a tape file is full and the next one begins, and how long files stay."""

    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    """A file this large is closed and the next one begun."""
    max_age_s: float = Field(default=3600, ge=1)
    """A file this old is closed and the next one begun."""
    keep_s: float | None = Field(default=None, gt=0)
    """Files that ended longer ago are removed. What is left of a run cannot be replayed without its first file."""
    keep_bytes: int | None = Field(default=None, gt=0)
    """Beyond this size the oldest files are removed."""


class Repair(Section):
    """Fetching missing trades. The venue allows 10 requests a second to everybody behind one address."""

    requests_per_s: float = Field(default=5, gt=0, le=10)
    """Requests a second, over all products together."""
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
        _read_secret(self, "token")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ValueError(f"ca_file: no such file: {self.ca_file}")
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


class Config(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_file=DOTENV_FILE,
        dotenv_filtering="only_existing",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    products: Annotated[tuple[str, ...], NoDecode, FromWords] = ()
    """What to collect, such as ``BTC-USD``; the command line wins."""
    data_dir: Path = Path("data")
    """Where journal, tapes and archive are kept."""
    collector: str = Field(default_factory=lambda: platform.node() or "sentinel", pattern=COLLECTOR)
    """Whose accounts these are: the tag of ``gaps`` and ``coverage``. Else the host's name at the first start."""
    http: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")
    """``HOST:PORT`` where status, metrics and the live page are served; they are not if it is not set."""
    http_token: SecretStr | None = None
    """The bearer token that clients must send; required on any address but loopback."""
    http_token_file: Path | None = None
    """A file that holds ``http_token``."""
    record: bool = False
    """Whether every frame is kept on a tape, for replay."""
    processes: int = Field(default=1, ge=1, le=64)
    """How many processes the products are spread over."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged."""
    coinbase: Coinbase = Coinbase()
    feeds: Feeds = Feeds()
    book: Book = Book()
    journal: Journal = Journal()
    archive: Archive = Archive()
    tape: Tape = Tape()
    repair: Repair = Repair()
    influx: Influx = Influx()
    alerts: Alerts = Alerts()

    @validates("products")
    @classmethod
    def _spelled(cls, products: tuple[str, ...]) -> tuple[str, ...]:
        for product in products:
            if not PRODUCT.fullmatch(product):
                hint = f"; did you mean {product.upper()}?" if PRODUCT.fullmatch(product.upper()) else ""
                raise ValueError(f"{product!r} is not a product such as BTC-USD{hint}")
        return tuple(dict.fromkeys(products))

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        _read_secret(self, "http_token")
        host = (self.http or "127.0.0.1:0").rpartition(":")[0].strip("[]")
        if host not in LOOPBACK and self.http_token is None:
            raise ValueError(f"http on {host} can be reached from elsewhere: it needs http_token or http_token_file")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.feeds.book == "coinbase_exchange_level2" and self.coinbase.exchange_key is None:
            raise ValueError(
                "feeds.book = coinbase_exchange_level2 needs a key (coinbase.exchange_key, …); "
                "coinbase_exchange_level2_batch needs none"
            )
        return self


def load(
    flags: Mapping[str, Any],
    config_file: Path | None,
    environment: Mapping[str, str] = os.environ,
    warn: Callable[[str], object] = lambda text: sys.stderr.write(f"sentinel-ws: {text}\n"),
) -> Config:
    """Reads every source.

    ``flags`` is nested like the TOML file and holds only what was given. ``config_file`` must exist if it is named;
    by default ``sentinel.toml`` is read if it is there. ``warn`` is told in one line which names of the environment
    look like ours and are not.

    Raises:
        UsageError: one line that says which setting is wrong and why, without its value.
    """
    if config_file is not None and not config_file.is_file():
        raise UsageError(f"no such file: {config_file}")
    ignored = _unknown_names([*environment, *dotenv_values(DOTENV_FILE)])
    if ignored:
        warn(f"no settings, ignored: {', '.join(ignored)}")
    known = set(known_names())
    ecosystem = {key: environment[name] for name, key in ECOSYSTEM_NAMES.items() if environment.get(name)}

    class Sources(Config):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            for source in (env_settings, dotenv_settings):
                assert isinstance(source, EnvSettingsSource)
                source.env_vars = {name: value for name, value in source.env_vars.items() if name.upper() in known}
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, {"influx": ecosystem} if ecosystem else {}),
                dotenv_settings,
                TomlConfigSettingsSource(settings_cls, config_file or CONFIG_FILE),
            )

    try:
        return Sources(**flags)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config_file or CONFIG_FILE}: {error}") from error
    except SettingsError as error:
        raise UsageError(str(error)) from error
    except ValidationError as error:
        raise UsageError(_explain(error)) from error


def _unknown_names(names: Iterable[str]) -> list[str]:
    """Names of the environment that begin like a setting's and are not near one: other programs' business.

    Raises:
        UsageError: for one that is near: pydantic-settings passes over it, and a misspelt setting must not be lost.
    """
    known = [name.removeprefix(ENVIRONMENT_PREFIX) for name in known_names()]
    ignored = []
    for name in names:
        bare = name.removeprefix(ENVIRONMENT_PREFIX)
        if bare == name or bare in known or name in NOT_SETTINGS:
            continue
        near = [] if SERVICE_LINK.search(name) else difflib.get_close_matches(bare, known, n=1, cutoff=NEAR)
        if near:
            raise UsageError(f"unknown environment variable {name}; did you mean {ENVIRONMENT_PREFIX}{near[0]}?")
        ignored.append(name)
    return sorted(ignored)


def known_names() -> list[str]:
    """Every environment name of a setting."""
    return [ENVIRONMENT_PREFIX + key.replace(".", "_").upper() for key in known_keys()]


def known_keys() -> list[str]:
    """Every setting as ``section.key``, or ``key`` outside a section."""
    keys = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys += [f"{name}.{key}" for key in section.model_fields]
        else:
            keys.append(name)
    return keys


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _explain(error: ValidationError) -> str:
    """The first thing wrong, and how many more there are. Never the value: it may be a secret."""
    details = error.errors(include_input=False, include_url=False)
    first = details[0]
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden":
        text = f"unknown setting {key}{_suggest(key, known_keys())}"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        text = f"{key}: {reason}" if key else reason
    more = len(details) - 1
    return f"{text} (and {more} more)" if more else text
