"""The workers' commands: a person's mistake is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.errors import UsageError


@pytest.mark.parametrize("below", ["", "data"])
def test_a_data_directory_that_cannot_be_is_one_line(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / below)
    servers = ["--cluster", "nats://127.0.0.1:4222", "--influx-url", "http://127.0.0.1:8086"]
    result = CliRunner().invoke(cli, ["deliver", "influx", *servers, "--data-dir", folder])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"cannot write to {folder}")
