"""Writes what the commands say of themselves for ``sentinel.command.declared``: see there."""

from __future__ import annotations

import json

from sentinel.cli import cli
from sentinel.command.declared import FILE, all_described


def text() -> str:
    return json.dumps(all_described(cli), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
