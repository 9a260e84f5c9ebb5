"""Many short gaps of one cause as one line. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from sentinel.contract.gaps import Gap
from sentinel.gap_report.report import ProductReport, ToldGap
from sentinel.gap_report.words import duration, moment
from sentinel.timing.instants import NS_PER_S

SHORT_NS = 10 * NS_PER_S
FEW = 3
"""So many stay as they are."""


class Line(NamedTuple):
    """One gap, or several short ones, of a product."""

    product: ProductReport
    gaps: list[ToldGap]

    @property
    def duration_ns(self) -> int:
        """How long they are together."""
        return sum(map(_length_ns, self.gaps))

    @property
    def what(self) -> str:
        """Of several: ``14 gaps of 0.1 s to 0.8 s, the last at 2026-11-23 14:02:11.2; 14 frames``."""
        lengths = sorted(map(_length_ns, self.gaps))
        shortest, longest = duration(lengths[0]), duration(lengths[-1])
        each = shortest if shortest == longest else f"{shortest} to {longest}"
        words = f"{len(self.gaps):,} gaps of {each}, the last at {moment(self.gaps[-1].start_ns)}"
        number = sum(gap.missing_count for gap in self.gaps)
        if not number:
            return words
        if self.gaps[0].channel == "book":
            return f"{words}; {number:,} {'frames' if self.gaps[0].cause == 'sequence' else 'samples'}"
        repaired = sum(gap.repaired_count for gap in self.gaps)
        state = "all repaired" if repaired == number else f"{number - repaired:,} missing"
        return f"{words}; {number:,} ids, {state}"


def as_lines(products: Iterable[ProductReport], *, folds: bool = True) -> list[Line]:
    """The gaps of all products by the time of the first one in each line."""
    lines: list[Line] = []
    for product in products:
        kinds: dict[tuple[object, ...], list[ToldGap]] = defaultdict(list)
        for gap in product.gaps:
            if folds and _is_short(gap):
                kinds[gap.channel, gap.cause, gap.is_lacking, gap.given_up].append(gap)
            else:
                lines.append(Line(product, [gap]))
        for gaps in kinds.values():
            lines += [Line(product, gaps)] if len(gaps) > FEW else [Line(product, [gap]) for gap in gaps]
    return sorted(lines, key=lambda line: (line.gaps[0].start_ns, line.product.market))


def _is_short(gap: Gap) -> bool:
    return gap.end_ns is not None and _length_ns(gap) < SHORT_NS


def _length_ns(gap: Gap) -> int:
    return 0 if gap.end_ns is None else gap.end_ns - gap.start_ns
