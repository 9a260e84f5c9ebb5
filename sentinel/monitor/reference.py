"""Documents about the running collector, made of its code: metrics, endpoints, and the rules of Prometheus.

    python -m sentinel.monitor.reference        # writes them all, from the root of the repository

A test fails when one of them is not as it would be made now. What people write themselves, docs/alerts.md and
docs/logs.md, tests hold against the code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from sentinel.monitor.alerts import CRITICAL, Kind
from sentinel.monitor.api.app import Sight, make_app
from sentinel.monitor.api.examples import EXAMPLES
from sentinel.monitor.api.metrics import FAMILIES

BEGINS = "<!-- made by python -m sentinel.monitor.reference -->\n"
ENDS = "<!-- made until here -->\n"

SAID = ("200", "401", "403")
"""Statuses of all paths, which the page says once."""

ONE_LINE = 120
LIMITS = {"exclusiveMinimum": "more than", "minimum": "at least", "maximum": "at most"}

RULES = "deploy/prometheus/alerts.yml"
RUNBOOK = "https://github.com/sentinel-ws/sentinel-ws/blob/main/docs/alerts.md"
"""Where the rules' links lead to: a section for each kind."""


def metrics_table() -> str:
    """A row for each metric of our own."""
    rows = "".join(
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |\n"
        for family in FAMILIES
    )
    return f"| metric | type | labels | |\n|---|---|---|---|\n{rows}"


def rules() -> str:
    """Prometheus' rules: one for what only an outsider can see, one for each kind of alert."""
    found = [
        "# Made by python -m sentinel.monitor.reference. An alert of the collector has lasted before it is raised.\n"
        "groups:\n  - name: sentinel-ws\n    rules:\n",
        _rule(
            "CollectorUnreachable", 'up{job="sentinel-ws"} == 0', "critical", "collector_unreachable",
            "{{ $labels.instance }} does not answer: nobody knows whether its data is whole", "1m",
        ),
    ]  # fmt: skip
    for kind in get_args(Kind):
        name = "Sentinel" + "".join(word.capitalize() for word in kind.split("_"))
        severity = "critical" if kind in CRITICAL else "warning"
        summary = f"{{{{ $labels.instance }}}}: {kind} {{{{ $labels.about }}}}"
        found.append(_rule(name, f'sentinel_alert{{kind="{kind}"}} == 1', severity, kind, summary))
    return "".join(found)


def _rule(name: str, expression: str, severity: str, section: str, summary: str, lasting: str = "0s") -> str:
    return (
        f"      - alert: {name}\n        expr: {expression}\n        for: {lasting}\n"
        f"        labels: {{severity: {severity}}}\n        annotations:\n"
        f'          summary: "{summary}"\n          runbook_url: {RUNBOOK}#{section}\n'
    )


class _Nobody:
    """Whom the routes that are looked at would ask."""

    def __getattr__(self, name: str) -> None:
        return None


def endpoints_page() -> str:
    """A section for each path of the schema, with what it answers by example."""
    schema = make_app(cast(Sight, _Nobody()), "0", None).openapi()
    return "\n".join(
        _endpoint(method.upper(), path, operation)
        for path, operations in sorted(schema["paths"].items())
        for method, operation in operations.items()
    )


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> str:
    asked = "".join(_parameter(each) for each in operation.get("parameters", ()) if each["in"] == "query")
    others = ", ".join(f"`{status}`" for status in sorted(operation["responses"]) if status not in SAID)
    parts = [
        f"### `{method} {path}`\n\n{operation['summary'].rstrip('.')}.\n",
        asked,
        f"It can also answer {others}.\n" if others else "",
        _block(EXAMPLES[path]) if path in EXAMPLES else "",
    ]
    return "\n".join(part for part in parts if part)


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    facts = [f"{schema['default']} by default"] if schema.get("default") is not None else []
    facts += [f"{words} {schema[name]:,.0f}" for name, words in LIMITS.items() if name in schema]
    said = [words.rstrip(".") for words in (parameter.get("description"), ", ".join(facts)) if words]
    return f"* `{parameter['name']}`: {'; '.join(said)}\n"


def _block(example: object) -> str:
    if isinstance(example, str):
        return f"```\n{example}```\n"
    text = msgspec.json.encode(example)
    return f"```json\n{(text if len(text) <= ONE_LINE else msgspec.json.format(text, indent=2)).decode()}\n```\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/prometheus.md": metrics_table,
    "docs/api.md": endpoints_page,
}


def documents(root: Path) -> dict[str, str]:
    """Each document as it should be, by its name; what stands around the made part of a page stays."""
    made = {name: _with_made((root / name).read_text(), make()) for name, make in PAGES.items()}
    return made | {RULES: rules()}


def _with_made(page: str, made: str) -> str:
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    return f"{before}{begins}\n{made}\n{ends}{after}"


if __name__ == "__main__":
    for name, text in documents(Path()).items():
        Path(name).write_text(text)
