"""How far a stream is delivered, and what is left of its outages."""

from __future__ import annotations

from sentinel.influx.track import Track


def test_an_outage_that_grows_while_its_end_is_read_is_not_over() -> None:
    track = Track("book", 0, is_ordered=False)
    track.set_out(10)
    track.set_out(25)
    track.drained(10)
    assert track.delivered_id == 10
    track.drained(25)
    assert track.delivered_id == 25
    assert not track.outages


def test_what_is_newest_is_delivered_between_two_outages_and_counts_after_both() -> None:
    track = Track("book", 0, is_ordered=False)
    track.set_out(10)
    track.newest_id = 12
    track.set_out(30)
    assert track.delivered_id == 0
    track.drained(10)
    assert track.delivered_id == 12
    track.newest_id = 31
    track.drained(30)
    assert track.delivered_id == 31


def test_what_is_in_doubt_is_delivered_once_more_when_the_doubt_is_over() -> None:
    track = Track("accounts", 0, is_ordered=True)
    track.newest_id = 10
    track.doubt(5, until_s=20.0)
    track.newest_id = 15
    track.doubt(12, until_s=30.0)
    track.settle(29.9)
    assert (track.newest_id, track.delivered_id) == (15, 5)
    track.settle(30.0)
    assert (track.newest_id, track.delivered_id) == (5, 5)
