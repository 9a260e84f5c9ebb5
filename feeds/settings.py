"""What a person may set of a venue: the base of every venue's section ``[venues.<name>]``, and the kinds of values."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr


def _url(*schemes: str) -> AfterValidator:
    """Of a server: addresses are in logs and errors, so nothing secret may be in one."""

    def check(url: str) -> str:
        if "@" in _netloc(url, schemes):
            raise ValueError("has a user in it, but addresses are shown: a password has a setting of its own")
        return url.rstrip("/")

    return AfterValidator(check)


def _secret_url(*schemes: str) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        _netloc(url.get_secret_value(), schemes)
        return url

    return AfterValidator(check)


def _netloc(url: str, schemes: tuple[str, ...]) -> str:
    """Raises ValueError for what is no URL of these schemes."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"is not a {' or '.join(schemes)} URL")
    return parts.netloc


def _items(value: object) -> object:
    """A list in the environment is JSON, or words separated by commas or spaces."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return value.replace(",", " ").split()
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not a list: {error}") from error


SocketUrl = Annotated[str, _url("ws", "wss")]
HttpUrl = Annotated[str, _url("http", "https")]
SecretUrl = Annotated[SecretStr, _secret_url("http", "https")]
"""One that lets in whoever knows it, as those of webhooks do."""
FromWords = BeforeValidator(_items)


class Strict(BaseModel):
    """A table of settings: nothing in it is unknown, nothing changes, and no value is in the text of an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class VenueSettings(Strict):
    """Where a venue is, which of its streams are collected, and keys for those who have them.

    A venue has a subclass with its own addresses as defaults. A field ``name`` beside a field ``name_file`` is filled
    from the file that it points at.
    """

    rest_url: HttpUrl
    """The REST API, for repairs and for checking product names."""


class OneFeedSettings(VenueSettings):
    """Those of a venue with a single feed."""

    url: SocketUrl
    """The WebSocket."""
