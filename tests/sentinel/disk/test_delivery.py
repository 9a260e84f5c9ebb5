"""A sink that has done nothing yet is well, and its name is that of the cursor it has always had."""

from __future__ import annotations

import msgspec
import pytest

from sentinel.disk.delivery import SINK, SinkStatistics


def test_the_name_of_the_cursor_is_that_of_every_journal_there_is() -> None:
    assert SINK == "influx"


def test_a_new_sink_has_delivered_nothing_and_failed_at_nothing() -> None:
    assert msgspec.to_builtins(SinkStatistics(by_design_s=2.5)) == {
        "by_design_s": 2.5, "state": "delivering", "lines_delivered": 0, "lines_set_aside": 0, "set_aside_ns": 0,
        "requests": 0, "errors": 0, "last_error": None,
    }  # fmt: skip


def test_a_state_that_no_sink_has_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"by_design_s": 1.0, "state": "bored"}, SinkStatistics)
