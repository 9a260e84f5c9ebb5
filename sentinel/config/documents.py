"""Every setting as text for people, made from the model: ``sentinel.example.toml``, ``.env.example`` and the table in
``docs/configuration.md``.

    python -m sentinel.config.documents        # writes all three
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import click
from msgspec import Struct
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from sentinel.config import Section, bare_types, whole
from sentinel.config.names import environment_name

TABLE_FILE = "docs/configuration.md"
TABLE_BEGINS = "<!-- made by python -m sentinel.config.documents -->\n"

SAMPLES: dict[str, object] = {
    "products": ["BTC-USD", "ETH-USD"],
    "select.quotes": ["USD"],
    "select.kinds": ["spot"],
    "collector": "desk-1",
    "http": "127.0.0.1:8080",
    "alerts.webhook_url": "https://hooks.example.com/sentinel",
    "report.smtp_server": "mail.example.com:587",
    "report.smtp_user": "sentinel",
    "report.mail_from": "sentinel@example.com",
    "report.mail_to": ["ops@example.com"],
    "report.webhook_url": "https://hooks.example.com/sentinel",
    "feeds.max_connection_age_s": 86_400,
    "influx.url": "http://127.0.0.1:8086",
    "influx.org": "desk",
    "cluster.servers": ["nats://nats-1:4222", "nats://nats-2:4222", "nats://nats-3:4222"],
    "cluster.address": "office",
    "cluster.user": "sentinel",
}
"""What is shown of a setting that has no default of its own."""

SAMPLE_BY_UNIT: dict[str, object] = {"_s": 2_592_000, "_bytes": 100_000_000_000, "_file": "/run/secrets/…"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Setting(Struct, frozen=True):
    """One setting. ``key`` is ``section.name`` or ``name``; ``default`` is None where there is none."""

    key: str
    meaning: str
    allowed: str
    default: object
    is_secret: bool
    sample: object = None

    @property
    def environment_name(self) -> str:
        return environment_name(self.key)

    @property
    def shown(self) -> object:
        """The default, or what a value looks like."""
        if self.default not in (None, ()):
            return self.default
        by_unit = (sample for unit, sample in SAMPLE_BY_UNIT.items() if self.key.endswith(unit))
        return self.sample or SAMPLES.get(self.key, next(by_unit, "…"))


def settings(model: type[BaseModel] | None = None, prefix: str = "") -> Iterator[Setting]:
    """All of them in the order of the model, those outside a section first."""
    model = model or whole()
    for name, field in model.model_fields.items():
        if not _is_section(field):
            yield _setting(prefix + name, field)
    for name, field in model.model_fields.items():
        if _is_section(field):
            assert isinstance(field.annotation, type)
            yield from settings(field.annotation, f"{prefix}{name}.")


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _setting(key: str, field: FieldInfo) -> Setting:
    default = None if field.default_factory is not None else _plain(field.default)
    is_secret = SecretStr in bare_types(field.annotation)
    sample = next(iter(field.examples or ()), None)
    return Setting(key, field.description or "", _allowed(field), default, is_secret, sample)


def _plain(value: object) -> object:
    """As TOML has it."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return str(value) if isinstance(value, Path) else value


def _allowed(field: FieldInfo) -> str:
    """``≥ 1, ≤ 30``, or the words there are."""
    words = [word for member in bare_types(field.annotation) for word in _literals(member)]
    bounds = [
        f"{sign} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, sign in BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]
    return ", ".join([f"`{word}`" for word in words] + bounds)


def _literals(annotation: Any) -> list[object]:
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [word for inner in typing.get_args(annotation) for word in _literals(inner)]


def as_toml() -> str:
    """``sentinel.example.toml``: every setting, commented out, as it is by default."""
    parts = ["# Every setting of sentinel-ws. Copy to sentinel.toml and remove the # from what you change.\n"]
    section = ""
    for setting in settings():
        head, _, name = setting.key.rpartition(".")
        if head != section:
            section = head
            parts.append(f"\n[{section}]\n")
        note = "" if setting.default is not None else " (None by default.)"
        parts.append(f"\n# {_unmarked(setting.meaning)}{note}\n# {name} = {_toml(setting.shown)}\n")
    return "".join(parts)


def as_dotenv() -> str:
    """``.env.example``."""
    head = "# Every setting of sentinel-ws as an environment variable. Copy to .env, which is never committed.\n"
    return head + "".join(
        f"\n# {_unmarked(setting.meaning)}\n# {setting.environment_name}={_environment(setting.shown)}\n"
        for setting in settings()
    )


def as_table() -> str:
    """The rows of ``docs/configuration.md``."""
    rows = ["| setting | environment | default | allowed | |\n|---|---|---|---|---|\n"]
    for setting in settings():
        default = "" if setting.default is None else f"`{_toml(setting.default)}`"
        secret = " Secret." if setting.is_secret else ""
        meaning = setting.meaning.replace("``", "`")
        names = f"`{setting.key}` | `{setting.environment_name}`"
        rows.append(f"| {names} | {default} | {setting.allowed} | {meaning}{secret} |\n")
    return "".join(rows)


def _unmarked(text: str) -> str:
    return text.replace("``", "")


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _environment(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def with_table(page: str) -> str:
    """The page with its table made anew."""
    return page.partition(TABLE_BEGINS)[0] + TABLE_BEGINS + as_table()


@click.command()
def main() -> None:
    """Writes the files, from the root of the repository."""
    Path("sentinel.example.toml").write_text(as_toml())
    Path(".env.example").write_text(as_dotenv())
    table = Path(TABLE_FILE)
    table.write_text(with_table(table.read_text()))


if __name__ == "__main__":
    main()
