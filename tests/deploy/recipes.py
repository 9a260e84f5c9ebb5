"""The queries of docs/influxdb.md, by heading and language."""

from __future__ import annotations

import re

from tests import ROOT

PAGE = ROOT / "docs" / "influxdb.md"
LANGUAGES = ("influxql", "flux", "sql")


def recipes() -> dict[str, dict[str, str]]:
    """``{heading: {language: query}}``."""
    _, _, text = PAGE.read_text().partition("## Recipes\n")
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found[heading] = dict(re.findall(r"^```(\w+)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))
    return found
