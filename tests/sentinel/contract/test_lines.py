"""Lines carry the time that is written in them: nobody reads it out of the text again."""

from __future__ import annotations

from sentinel.contract.line_protocol import decode
from sentinel.disk.tape import tape_files
from sentinel.pipeline import Output
from sentinel.replay.play import play
from tests.golden.make import tape_file


def test_every_line_of_a_run_has_its_time() -> None:
    told = Output()
    for step in play(tape_files(tape_file("version_1"))):
        output = step.pipeline.take()
        for name in ("trades", "book", "accounts"):
            getattr(told, name).extend(getattr(output, name))
    for lines in (*told.trades, *told.book, *told.accounts):
        assert {decode(line).time_ns for line in lines.text.split(b"\n")} == {lines.time_ns}
    for lines in told.trades:
        assert lines.stored is not None
        fields = dict(decode(lines.text).fields)
        trade = lines.stored.trade
        assert (fields["trade_id"], fields["price"], fields["size"]) == (trade.trade_id, trade.price, trade.size)
        assert fields.get("recv_ns") == lines.stored.received_ns
        assert fields.get("repaired", False) == lines.stored.is_repaired
    assert told.trades
    assert told.book
