"""The page: self-contained, readable by a screen reader, and nothing that a venue sends becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from msgspec.structs import replace

from sentinel.qualify.claims import judge
from sentinel.qualify.evidence import BookTransition, Fault, Qualification, Times, Transition, WireFound
from sentinel.qualify.page import as_html, headline
from tests.sentinel.qualify.made import S, feed, found, known, points, product

EVIL = '<script>alert("x")</script>'


def whole() -> Qualification:
    """A document in which every section has something."""
    quiet = found(
        products=[
            product(
                symbol=EVIL, missing=2, transitions=[BookTransition(S, 3 * S, "sequence", 20)], resync=Times(1, 2, 2, 2)
            )
        ],
        feeds=[feed(refusals={EVIL: 3}, unknown={EVIL: 2}, closed={"silence": 1})],
        transitions=[Transition(S, 0, "coinbase_advanced", "closed", EVIL, 1.0)],
        reliability=[Fault("frames lost", "book", 2, 5, Times(2, 0.1, 0.2, 0.2), Times(2, 0.3, 70.0, 4000.0))],
        wire=[WireFound("coinbase", "x", "A fact", "high", "contradicted", 0, 1, EVIL)],
        notes=[EVIL],
    )
    quiet = replace(quiet, resources=replace(quiet.resources, series=points([100.0, 110.0, 105.0])))
    return replace(quiet, claims=judge(quiet, known()))


class Checked(HTMLParser):
    """What basic accessibility asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    checked = Checked()
    checked.feed(page)
    return checked.tags


def test_nothing_that_was_received_becomes_markup() -> None:
    page = as_html(whole())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_it_asks_for_nothing_and_runs_nothing() -> None:
    page = as_html(whole())
    assert not re.search(r"(src|href)=", page)
    assert "default-src 'none'" in page


def test_it_can_be_read_without_eyes() -> None:
    every = tags(as_html(whole()))
    assert ("html", {"lang": "en"}) in every
    assert [tag for tag, _ in every if tag in ("main", "h1")] == ["main", "h1"]
    heads = [attributes for tag, attributes in every if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row") for attributes in heads)
    assert all(attributes["aria-label"] for tag, attributes in every if tag == "svg")
    assert all(attributes.get("tabindex") == "0" for _, attributes in every if attributes.get("class") == "scroll")


def test_the_headline_is_the_verdict() -> None:
    of = whole()
    assert headline(of) == "1 of 5 claims did not hold"
    assert headline(found()) == "Nothing could be judged"
    assert headline(replace(found(), claims=[claim for claim in of.claims if claim.verdict == "holds"])).startswith(
        "All "
    )


def test_figures_are_spelled_for_people() -> None:
    page = as_html(whole())
    for text in ("300 ms", "1 m 10 s", "1 h 6 m", "does not hold", "It ran to its end."):
        assert text in page


def test_the_smallest_document_makes_a_page() -> None:
    assert "Nothing was collected." in as_html(found(products=[], feeds=[]))
