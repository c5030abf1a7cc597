"""Figures of benchmarks, and how they are shown."""

import os
from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table


class Figure(Struct, frozen=True, kw_only=True):
    name: str
    ours: str
    baseline: str = "–"
    ratio: str = "–"
    wanted: str = "–"


def show(title: str, baseline: str, figures: Sequence[Figure], notes: str, *, ours: str = "ours") -> None:
    """Print a table of figures, with the load beside which they were measured."""
    one, five, _ = os.getloadavg()
    table = Table("figure", ours, baseline, "ratio", "wanted", title=f"{title} (load {one:.0f}, before {five:.0f})")
    for figure in figures:
        table.add_row(figure.name, figure.ours, figure.baseline, figure.ratio, figure.wanted)
    console = Console(width=120)
    console.print(table)
    console.print(notes, highlight=False)
