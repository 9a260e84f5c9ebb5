"""The API's description of itself: the shapes that it answers with, from the types they are made of."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct

from sentinel.gap_report.report import Report
from sentinel.monitor.alerts import Alert
from sentinel.monitor.history import History
from sentinel.monitor.monitor import Depth
from sentinel.monitor.status import Status

PLACE = "#/components/schemas/{name}"
ABOUT = """What a running collector is doing, and what it has of the last minutes and days.

Times are Unix nanoseconds, and prices and sizes floats, as in the stored data. Where a token is set, everything but
`/healthz` and `/readyz` needs it: `Authorization: Bearer TOKEN`, or `?token=TOKEN`. Where none is set, requests must be
to `localhost` or a loopback address. Nothing here changes anything."""


class Health(Struct, frozen=True):
    """The process is alive."""

    status: str


class Readiness(Struct, frozen=True):
    """Whether every book is proved that the venue lists; ``reasons`` say what is not as it should be."""

    ready: bool
    reasons: list[str]


class Alerts(Struct, frozen=True):
    """The alerts that are raised now."""

    alerts: list[Alert]


class Refusal(Struct, frozen=True):
    """Why there is no answer."""

    detail: str


SHAPES = (Health, Readiness, Status, Alerts, Report, Depth, History, Refusal)

Responses = dict[int | str, dict[str, Any]]


def answers(shape: type[Struct], words: str, status: int = 200, example: object = None) -> Responses:
    """What a path answers with, for its ``responses``."""
    content: dict[str, object] = {"schema": {"$ref": PLACE.format(name=shape.__name__)}}
    if example is not None:
        content["example"] = example
    return {status: {"description": words, "content": {"application/json": content}}}


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application."""
    found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    _, shapes = msgspec.json.schema_components(SHAPES, ref_template=PLACE)
    components = found.setdefault("components", {})
    components["schemas"] = {name: _plain(shape) for name, shape in shapes.items()} | components.get("schemas", {})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return found


def _plain(schema: Any) -> Any:
    """A tuple as a list of so many, which more tools understand than the places of its parts."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _plain(part) for name, part in schema.items()}
    places = found.pop("prefixItems", None)
    if places:
        found["items"] = places[0] if all(place == places[0] for place in places) else {"anyOf": places}
    return found
