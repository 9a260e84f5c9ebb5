"""Every setting: its name, its default, where it may come from, and one clear line when it is wrong.

Precedence: flags > environment > ``.env`` > ``sentinel.toml`` > defaults. A setting ``key`` of section ``[section]``
in the TOML file is ``SENTINEL_SECTION_KEY`` in the environment, and one of ``[venues.name]`` is ``SENTINEL_NAME_KEY``.
The sections of venues are those of the catalogue.
"""

from __future__ import annotations

import difflib
import os
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, create_model, model_validator
from pydantic import field_validator as validates

from book.bins import DEFAULT_EDGES_BPS
from feeds.catalogue import DEFAULT_EXCHANGE, VENUES
from feeds.market import Market
from feeds.settings import FromWords, HttpUrl, Strict, VenueSettings
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
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
VENUES_SECTION = "venues"

OLD_NAMES = {
    DEFAULT_EXCHANGE: f"venues.{DEFAULT_EXCHANGE}",
    "feeds.book": f"venues.{DEFAULT_EXCHANGE}.book",
    "feeds.trades": f"venues.{DEFAULT_EXCHANGE}.trades",
}
"""What sections and settings were called by version 0.1, which knew one venue: still read, with a warning."""

OLD_KEYS = [old for old in OLD_NAMES if "." in old]
"""Single settings. A section of a venue is called in the environment as it always was."""


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
                read[name] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}_file: {getattr(error, 'strerror', 'no text')}: {path}") from error
        return given | read


class Venues(Section):
    """A section for each venue of the catalogue, by exchange."""

    def __getitem__(self, exchange: str) -> VenueSettings:
        settings: VenueSettings = getattr(self, exchange)
        return settings


class Feeds(Section):
    """How products are spread over sockets."""

    connections: int = Field(default=1, ge=1, le=2)
    """2 opens every connection twice, so that losing one costs nothing."""
    products_per_connection: int = Field(default=20, ge=1)
    """Books on one connection, never more than the venue takes. A hole may cost all books of its connection."""
    max_connection_age_s: float | None = Field(default=None, ge=60)
    """A connection so old is replaced; never, if there is none."""
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
    """What to collect, such as ``BTC-USD``, or ``exchange:symbol``; the command line wins."""
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
    venues: Venues = Venues()
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
        return tuple(dict.fromkeys(_market(product).short for product in products))

    @property
    def markets(self) -> tuple[Market, ...]:
        """The products, each with its exchange."""
        return tuple(Market.parse(product) for product in self.products)

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        host = (self.http or "127.0.0.1:0").rpartition(":")[0].strip("[]")
        if host not in LOOPBACK and self.http_token is None:
            raise ValueError(f"http on {host} can be reached from elsewhere: it needs http_token or http_token_file")
        return self


def _market(product: str) -> Market:
    """Raises ValueError for what is no product of a venue that we know."""
    market = Market.parse(product)
    venue = VENUES.get(market.exchange)
    if venue is None:
        raise ValueError(f"{product!r} is of an unknown exchange; known are {', '.join(sorted(VENUES))}")
    if not venue.symbol.fullmatch(market.symbol):
        upper = market._replace(symbol=market.symbol.upper())
        hint = f"; did you mean {upper.short}?" if venue.symbol.fullmatch(upper.symbol) else ""
        example = Market(venue.exchange, venue.example).short
        raise ValueError(f"{product!r} is not a product such as {example}{hint}")
    return market


def whole() -> type[Config]:
    """The model of the configuration, with a section for each venue that is in the catalogue now."""
    sections = {
        exchange: create_model(
            venue.settings.__name__, __base__=(Section, venue.settings), __doc__=venue.settings.__doc__
        )
        for exchange, venue in VENUES.items()
    }
    fields: dict[str, Any] = {exchange: (section, section()) for exchange, section in sections.items()}
    venues = create_model("Venues", __base__=Venues, **fields)
    return create_model("Config", __base__=Config, venues=(venues, venues()))


def load(
    flags: Mapping[str, Any],
    config_file: Path | None,
    environment: Mapping[str, str] = os.environ,
    warn: Callable[[str], object] = lambda text: sys.stderr.write(f"sentinel-ws: {text}\n"),
) -> Config:
    """Reads every source.

    ``flags`` is nested like the TOML file and holds only what was given. ``config_file`` must exist if it is named;
    by default ``sentinel.toml`` is read if it is there. ``warn`` is told in one line which names of the environment
    look like ours and are not, and in another which names are old.

    Raises:
        UsageError: one line that says which setting is wrong and why, without its value.
    """
    if config_file is not None and not config_file.is_file():
        raise UsageError(f"no such file: {config_file}")
    dotenv = dotenv_values(DOTENV_FILE)
    ignored = _unknown_names([*environment, *dotenv])
    if ignored:
        warn(f"no settings, ignored: {', '.join(ignored)}")
    ecosystem = {key: environment[name] for name, key in ECOSYSTEM_NAMES.items() if environment.get(name)}
    renamed: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for source in (
        _renamed(_toml(config_file or CONFIG_FILE), renamed),
        _from_environment(dotenv, renamed),
        {"influx": ecosystem} if ecosystem else {},
        _from_environment(environment, renamed),
        _renamed(flags, renamed),
    ):
        merged = _merged(merged, source)
    if renamed:
        warn(f"old names, still read: {', '.join(f'{old} is now {new}' for old, new in sorted(renamed.items()))}")
    try:
        return whole().model_validate(merged)
    except ValidationError as error:
        raise UsageError(_explain(error, {new: old for old, new in renamed.items()})) from error


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _renamed(given: Mapping[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    """Settings by their names of today; old names among them are added to ``renamed``. Those of today win."""
    rest, moved = _merged({}, given), dict[str, Any]()
    for old, new in OLD_NAMES.items():
        table, _, key = old.rpartition(".")
        holder = rest.get(table) if table else rest
        if isinstance(holder, dict) and key in holder:
            renamed[old] = new
            moved = _merged(moved, _nested(new, holder.pop(key)))
    return _merged(moved, rest)


def _from_environment(values: Mapping[str, str | None], renamed: dict[str, str]) -> dict[str, Any]:
    """The settings among names of the environment, whatever their case."""
    by_name = {environment_name(key): key for key in [*OLD_KEYS, *known_keys()]}
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = by_name.get(name.upper())
        if key is not None and value is not None:
            found = _merged(found, _nested(key, value))
    return _renamed(found, renamed)


def _nested(key: str, value: object) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    return {name: _nested(rest, value) if rest else value}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, key by key; what is ``above`` wins."""
    merged = dict(below)
    for key, value in above.items():
        beneath = merged.get(key)
        if isinstance(value, Mapping):
            value = _merged(beneath if isinstance(beneath, Mapping) else {}, value)
        merged[key] = value
    return merged


def _unknown_names(names: Iterable[str]) -> list[str]:
    """Names of the environment that begin like a setting's and are not near one: other programs' business.

    Raises:
        UsageError: for one that is near: nobody else would say so, and a misspelt setting must not be lost.
    """
    known = [environment_name(key).removeprefix(ENVIRONMENT_PREFIX) for key in [*known_keys(), *OLD_KEYS]]
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


def environment_name(key: str) -> str:
    """What ``section.key`` is called in the environment."""
    return ENVIRONMENT_PREFIX + key.removeprefix(f"{VENUES_SECTION}.").replace(".", "_").upper()


def venue_environment(exchange: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Where a venue is, for the environment of a collector. ``urls`` are those of ``simulate``: of each feed by its
    short name, or by the exchange's if it has one feed, and of ``rest``."""
    keys = {name: "url" if name == exchange else f"{name}_url" for name in urls}
    return {environment_name(f"{VENUES_SECTION}.{exchange}.{key}"): urls[name] for name, key in keys.items()}


def known_names() -> list[str]:
    """Every environment name of a setting."""
    return [environment_name(key) for key in known_keys()]


def known_keys() -> list[str]:
    """Every setting as ``section.key``, or ``key`` outside a section."""
    return list(_keys(whole(), ""))


def _keys(model: type[Strict], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from _keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _explain(error: ValidationError, given_as: Mapping[str, str]) -> str:
    """The first thing wrong, and how many more there are. Never the value: it may be a secret.

    ``given_as`` are the old names of settings that bear a new one.
    """
    details = error.errors(include_input=False, include_url=False)
    first = details[0]
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden":
        text = f"unknown setting {key}{_suggest(key, known_keys())}"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        key = f"{key} (given as {given_as[key]})" if key in given_as else key
        text = f"{key}: {reason}" if key else reason
    more = len(details) - 1
    return f"{text} (and {more} more)" if more else text
