"""The dashboards for InfluxQL and SQL: those for Flux, with other queries in place of theirs.

    python -m deploy.grafana.make        # writes influxql/dashboards and sql/dashboards

What a panel is called, where it is and how it looks stands in dashboards/*.json alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.grafana.influxql import queries as influxql
from deploy.grafana.sql import queries as sql

HERE = Path(__file__).parent
LANGUAGES = {"influxql": influxql, "sql": sql}
TITLES = {"influxql": "InfluxQL", "sql": "SQL"}


def board(language: str, name: str) -> dict[str, Any]:
    """One of them."""
    dialect = LANGUAGES[language]
    made: dict[str, Any] = json.loads((HERE / "dashboards" / f"{name}.json").read_text())
    made["uid"] += f"-{language}"
    made["title"] += f" ({TITLES[language]})"
    for panel in made["panels"]:
        dialect.ask(panel, dialect.QUERIES[name][panel["title"]])
    variables = [dialect.variable(each) for each in made["templating"]["list"]]
    made["templating"]["list"] = [each for each in variables if each is not None]
    for annotation in made["annotations"]["list"]:
        dialect.annotate(annotation)
    return made


def dashboards() -> dict[Path, str]:
    """Every file by its place."""
    return {
        HERE / language / "dashboards" / f"{name}.json": json.dumps(board(language, name), indent=2) + "\n"
        for language, dialect in LANGUAGES.items()
        for name in dialect.QUERIES
    }


if __name__ == "__main__":
    for path, text in dashboards().items():
        path.write_text(text)
