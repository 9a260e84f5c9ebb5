"""Tables that are whole at any width: no value is ever cut off or broken.

Wide enough, they are tables. Narrower, headers fold and words wrap; narrower still, the columns go into two tables one
below the other; and at last each row is written as ``name value`` pairs.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sentinel.command.foreign import visible, visible_lines

UNKNOWN = 80
"""Columns of a terminal that does not say how many it has."""

UNBOUNDED = 10_000
"""Where there is no terminal: as wide as the lines are."""

SPACES = (2, 1)
"""Between columns: the second if the first leaves too little room."""

INDENT = 2
DOT = " · "
LEAST_WORDS, LONGEST_WORD = 12, 24
"""A column of words is not wrapped to fewer characters than the first, and no word of up to the second is broken."""


class Sheet:
    """Rows of cells, shown as the width allows. Cells may have rich's markup.

    ``numbers`` are columns that are aligned right, ``words`` those whose cells may wrap. ``is_keyed`` if the first
    column says what the row is of: only then can the columns go into several tables.
    """

    def __init__(
        self,
        *columns: str,
        title: str | None = None,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        is_keyed: bool = True,
    ) -> None:
        self._columns = columns
        self._title = title
        self._numbers = numbers
        self._words = words
        self._is_keyed = is_keyed
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """One cell for each column."""
        self._rows.append([_shown(cell if isinstance(cell, Text) else Text.from_markup(cell)) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        space, parts = self._parts(width)
        if self._title:
            yield Text(self._title, "bold")
        if parts is None:
            yield from self._pairs()
            return
        for at, columns in enumerate(parts):
            yield from [""] * min(at, 1)
            yield self._table(columns, width, space)

    def _parts(self, width: int) -> tuple[int, list[list[int]] | None]:
        """The space between columns, and the columns of each table; None if two are not enough, or rows cannot be taken
        apart."""
        every = list(range(len(self._columns)))
        filled = [column for column in every if not column or any(row[column].plain for row in self._rows)]
        for space in SPACES:
            for columns in (every, filled):
                if self._breadth(columns, space) <= width:
                    return space, [columns]
        space = SPACES[0]
        halves = [[filled[:at], [0, *filled[at:]]] for at in range(2, len(filled))] if self._is_keyed else []
        breadths = [max(self._breadth(part, space) for part in parts) for parts in halves]
        narrowest = min(breadths, default=width + 1)
        return space, halves[breadths.index(narrowest)] if narrowest <= width else None

    def _breadth(self, columns: Sequence[int], space: int) -> int:
        """How narrow a table of these columns can be."""
        return sum(map(self._least, columns)) + space * (len(columns) - 1)

    def _least(self, column: int) -> int:
        """How narrow a column can be."""
        name = self._columns[column]
        header = max(map(cell_len, name.split()), default=0)
        values = max((row[column].cell_len for row in self._rows), default=0)
        if name in self._words:
            longest = max((cell_len(word) for row in self._rows for word in row[column].plain.split()), default=0)
            values = min(values, max(LEAST_WORDS, min(longest, LONGEST_WORD)))
        return max(header, values)

    def _most(self, column: int) -> int:
        """How wide it would be if there were no end of room."""
        return max([cell_len(self._columns[column]), *(row[column].cell_len for row in self._rows)])

    def _table(self, columns: Sequence[int], width: int, space: int) -> Table:
        widths = [self._least(column) for column in columns]
        most = [self._most(column) for column in columns]
        for _ in range(
            width - self._breadth(columns, space)
        ):  # what is left goes to those that wrap, the narrowest first
            wrapping = [at for at in range(len(columns)) if widths[at] < most[at]]
            if not wrapping:
                break
            widths[min(wrapping, key=widths.__getitem__)] += 1
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, space - 1, 0, 0))
        for column, least in zip(columns, widths, strict=True):
            name = self._columns[column]
            table.add_column(name, width=least, justify="right" if name in self._numbers else "left", overflow="fold")
        for row in self._rows:
            table.add_row(*(row[column] for column in columns))
        return table

    def _pairs(self) -> Iterator[RenderableType]:
        """Each row as its first cell, and the others below it, as many in a line as there is room for."""
        for row in self._rows:
            head, *cells = row
            yield Text.assemble(Text(f"{self._columns[0]} " if self._columns[0] else ""), head)
            yield _Flow(
                [
                    Text.assemble((f"{name} ".lstrip(), "dim"), cell)
                    for name, cell in zip(self._columns[1:], cells, strict=True)
                    if cell.plain
                ]
            )


def _shown(cell: Text) -> Text:
    """Without anything that a terminal would obey; styles are where they were."""
    text = visible(cell.plain)
    return cell if text == cell.plain else Text(text, cell.style, spans=cell.spans)


class _Flow:
    """Pieces with a dot between them; a piece that does not fit into a line begins the next one."""

    def __init__(self, pieces: Sequence[Text]) -> None:
        self._pieces = pieces

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        lines = [Text()]
        for piece in self._pieces:
            if lines[-1] and lines[-1].cell_len + len(DOT) + piece.cell_len > options.max_width - INDENT:
                lines.append(Text())
            lines[-1].append(DOT if lines[-1] else "").append_text(piece)
        yield Padding(Group(*filter(None, lines)), (0, 0, 0, INDENT), expand=False)


def width_of_stdout() -> int:
    """What COLUMNS or the terminal says; a pipe and a file have no width."""
    fallback = UNKNOWN if is_terminal() else UNBOUNDED
    return shutil.get_terminal_size((fallback, 24)).columns


def is_terminal() -> bool:
    """Whether somebody looks at stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


class _Paper(io.StringIO):
    """Text that will be written to stdout: lines of tables are those that its encoding has."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"


def show(*shown: RenderableType) -> None:
    """To stdout. Strings are words: they wrap, but a path stays whole, and have no markup."""
    parts = [Text(visible_lines(part), overflow="ignore") if isinstance(part, str) else part for part in shown]
    sys.stdout.write(rendered(*parts, is_coloured=is_terminal()))
    sys.stdout.flush()


def rendered(*shown: RenderableType, width: int | None = None, is_coloured: bool = False) -> str:
    """As text of ``width`` columns, by default those of stdout."""
    paper, columns = _Paper(), width or width_of_stdout()
    console = Console(file=paper, width=columns, height=1000, force_terminal=is_coloured, highlight=False)
    console.print(Group(*shown))
    text = paper.getvalue()
    return text if is_coloured else "".join(f"{line.rstrip()}\n" for line in text.splitlines())
