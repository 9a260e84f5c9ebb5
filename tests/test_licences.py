"""The page of licences is that of the lock files, and nothing that we ship with would make our users publish theirs."""

from __future__ import annotations

from tests.licences import PAGE, ROW, Package, licence, locked, page


def test_the_page_is_made_of_the_lock_files() -> None:
    """After `make lock`: `python -m tests.licences`."""
    before = PAGE.read_text()
    assert page(before) == before
    named = {Package(name, version) for name, version, _ in ROW.findall(before)}
    assert named == {*locked("requirements.lock"), *locked("requirements-dev.lock")}


def test_nothing_that_is_installed_to_run_is_copyleft_beyond_its_own_files() -> None:
    said = {package.name: licence(package.name) or "" for package in locked("requirements.lock")}
    assert {name for name, words in said.items() if "GPL" in words} == set()
    assert {name for name, words in said.items() if "MPL" in words or "Mozilla" in words} == {"certifi"}
