"""What the documents say exists: links, headings, commands, options, and the tree of ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TypeGuard
from urllib.parse import unquote, urlsplit

import click
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from feeds.catalogue import FEEDS, VENUES
from feeds.protocol import Feed, FeedFacts
from sentinel.cli import cli
from tests import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "examples" / "README.md", ROOT / "bench" / "README.md"])
OF_OTHER_PROGRAMS = {"--no-deps", "--wheel-dir"}
"""Options of pip and the like, where a sentence names one by itself."""


NAMES = cli.list_commands(click.Context(cli))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(page.read_text())


def inline(page: Path) -> Iterator[Token]:
    for token in tokens(page):
        yield from token.children or []


def anchors(page: Path) -> set[str]:
    """Of every heading, as GitHub makes them."""
    found: set[str] = set()
    parts = tokens(page)
    for opening, content in pairwise(parts):
        if opening.type == "heading_open":
            text = "".join(child.content for child in content.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = sum(
                anchor == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", anchor) is not None for anchor in found
            )
            found.add(f"{slug}-{number}" if number else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = [token.attrGet("href") or token.attrGet("src") for token in inline(page)]
    targets += re.findall(
        r'(?:href|src)="([^"]+)"', "".join(token.content for token in tokens(page) if "html" in token.type)
    )
    dead = []
    for target in map(str, filter(None, targets)):
        url = urlsplit(target)
        if url.scheme:
            continue
        file = (page.parent / unquote(url.path)).resolve() if url.path else page
        if not file.exists() or (url.fragment and url.fragment not in anchors(file)):
            dead.append(target)
    assert not dead


def test_the_index_of_docs_has_every_page() -> None:
    linked = {
        str(token.attrGet("href")).partition("#")[0]
        for token in inline(DOCS / "README.md")
        if token.type == "link_open"
    }
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name)
def test_every_page_opens_with_a_sentence(page: Path) -> None:
    """A heading, and then a paragraph: not a table, not code, not the next heading."""
    assert [token.type for token in tokens(page)][:4] == ["heading_open", "inline", "heading_close", "paragraph_open"]


PATH = re.compile(r"(?:book|feeds|sentinel|tests|docs|deploy|examples|bench)/[\w./-]*\w")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_ours_is_there(page: Path) -> None:
    codes = [child.content for child in inline(page) if child.type == "code_inline"]
    ours = [
        code for code in codes if PATH.fullmatch(code) and not code.startswith("deploy/secrets/")
    ]  # made by a script
    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_adding_a_venue_speaks_of_what_a_feed_has() -> None:
    """F19: it and ARCHITECTURE.md counted six methods, left some out, and named tables that are not there."""
    page = DOCS / "adding-a-venue.md"
    codes = [child.content for child in inline(page) if child.type == "code_inline"]
    facts = {code.removeprefix("facts.") for code in codes if code.startswith("facts.")}
    assert facts <= set(FeedFacts.__struct_fields__)
    members = [member for member in vars(Feed) if not member.startswith("_")]
    attributes = Feed.__annotations__
    properties = [member for member in members if isinstance(vars(Feed)[member], property)]
    methods = set(members) - set(properties) - set(attributes)
    numbers = dict(zip(range(2, 8), ("two", "three", "four", "five", "six", "seven"), strict=True))
    counts = [(attributes, "class attributes"), (properties, "properties"), (methods, "methods")]
    said = ", ".join(f"{numbers[len(found)]} {kind}" for found, kind in counts)
    assert said in page.read_text()
    assert said in (ROOT / "ARCHITECTURE.md").read_text()


# commands


def commands(page: Path) -> Iterator[list[str]]:
    """The words after ``sentinel-ws`` wherever it is the command of a line of code, or of code within a sentence."""
    for token in tokens(page):
        if token.type == "fence" and token.info in ("", "sh", "bash", "console"):
            for line in token.content.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|\||[|;]", line.partition(" #")[0].removeprefix("$ ")):
                    yield from command(part)
    for child in inline(page):
        if child.type == "code_inline":
            yield from command(child.content)


def command(text: str) -> Iterator[list[str]]:
    try:
        words = shlex.split(text)
    except ValueError:  # a sentence with an apostrophe, or half of something
        return
    while words and re.match(r"[A-Z_0-9]+=", words[0]):
        words.pop(0)
    words = list(takewhile(lambda word: word not in (">", ">>"), words))
    if words and words[0].rpartition("/")[2] == "sentinel-ws":
        yield words[1:]
    elif len(words) > 1 and words[0] in NAMES and any(word.startswith("-") for word in words):
        yield words


def unknown(words: list[str]) -> list[str]:
    """Those of the words that no command or option of this program is called."""
    at: click.Command = cli
    while isinstance(at, click.Group) and words and not words[0].startswith("-"):
        if words[0].isupper() or words[0] == "…":  # COMMAND
            return []
        if (found := at.get_command(click.Context(at), words[0])) is None:
            return [words[0]]
        at, words = found, words[1:]
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]
    return [option for option in options if option not in {*known, "--help"}]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_command_and_option_exists(page: Path) -> None:
    wrong = {" ".join(words): bad for words in commands(page) if (bad := unknown(words))}
    assert not wrong


def all_commands(
    group: click.Group = cli, path: tuple[str, ...] = ("sentinel-ws",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    context = click.Context(group)
    for command_name in group.list_commands(context):
        found = group.get_command(context, command_name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from all_commands(found, (*path, command_name))
        else:
            yield (*path, command_name), found


def all_options() -> Iterator[str]:
    for _, found in all_commands():
        for parameter in found.params:
            yield from (*parameter.opts, *parameter.secondary_opts)


def test_an_option_in_a_sentence_is_one_of_ours() -> None:
    known = {*all_options(), *OF_OTHER_PROGRAMS, "--help", "--version"}
    for page in PAGES:
        if page.name not in ("CONTRIBUTING.md", "RESULTS.md") and page.parent.name != "bench":
            codes = [child.content for child in inline(page) if child.type == "code_inline"]
            named = {match[0] for code in codes if (match := re.match(r"--[a-z-]+", code))}
            assert named <= known, name(page)


def test_the_judge_of_commands_finds_what_is_wrong() -> None:
    (words,) = command("SENTINEL_RECORD=false ./bin/sentinel-ws collect BTC-USD --no-such --record")
    assert unknown(words) == ["--no-such"]
    assert unknown(["colect"]) == ["colect"]
    assert unknown(["dataset", "frieze"]) == ["frieze"]
    assert unknown(["dataset", "freeze", "june", "--since=1h"]) == []


# the tree of ARCHITECTURE.md


def tree() -> dict[str, set[str]]:
    """By top folder, the names in the block below "The tree": ``room/`` or ``module.py``."""
    fences = [token.content for token in tokens(ROOT / "ARCHITECTURE.md") if token.type == "fence"]
    block = next(content for content in fences if content.startswith("book/"))
    named: dict[str, set[str]] = {}
    for line in block.splitlines():
        if top := re.match(r"(\w+)/", line):
            names = named.setdefault(top[1], set())
        else:
            names.update(re.findall(r"(?<![\w./])\w+(?:/|\.py|\.c)(?![\w])", line))
    return named


def there_is(folder: Path) -> set[str]:
    packages = {f"{file.parent.name}/" for file in folder.glob("*/__init__.py")}
    modules = {file.name for file in folder.iterdir() if file.suffix in (".py", ".c")}
    return packages | {module for module in modules if not module.startswith("__")}


@pytest.mark.parametrize("top", ["book", "feeds", "sentinel"])
def test_the_tree_in_architecture_is_the_tree(top: str) -> None:
    named, real = tree()[top], there_is(ROOT / top)
    inside = {f"{file.parent.name}/" for file in (ROOT / top).rglob("__init__.py")}
    inside |= {file.name for file in (ROOT / top).rglob("*") if file.suffix in (".py", ".c")}
    venues = {f"{venue}/" for venue in (*VENUES, *FEEDS)}
    assert real - venues - named == set(), "not named"
    assert named - inside == set(), "named, but not there"


# plain English

REWRITTEN = (
    "once in effect",
    "own manners",
    "are set aside with its words",
    "always 0 % verified",
    "Be a local",
    "so that a month can begin",
    "is looked for hours",
    "connection so old",
    "file so large",
    "So many lines",
    "gone so long",
    "least level",
    "its own affair",
    "which Python's `datetime` has not",
    "has made it right before",
    "so many basis points",
    "at least so often",
    "who knows",
)
IS_NO = re.compile(
    r"\b(?:is|are) no (?:certificate|head|journal|tape|manifest|data set|list|number|value|JSON|point)s?\b"
)


def test_sentences_that_had_to_be_read_twice_are_gone() -> None:
    """Section 8 of the tour of version 0.1: sentences of README, docs, help and settings that nobody would write."""
    texts = {name(page): page.read_text() for page in PAGES}
    texts |= {file: (ROOT / file).read_text() for file in ("sentinel.example.toml", ".env.example")}
    texts |= {" ".join(path): found.help or "" for path, found in all_commands()}
    found = {where: [words for words in REWRITTEN if words in " ".join(text.split())] for where, text in texts.items()}
    assert {where: words for where, words in found.items() if words} == {}


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_a_message_says_is_not_a() -> None:
    """German says "is no tape"."""
    files = [file for top in ("book", "feeds", "sentinel") for file in (ROOT / top).rglob("*.py")]
    strings = [(file, node.value) for file in files for node in ast.walk(ast.parse(file.read_text())) if is_text(node)]
    assert [(name(file), text) for file, text in strings if IS_NO.search(text) and "\n" not in text] == []
