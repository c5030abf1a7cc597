"""What tests measured of the reliability scorecard: a line for each of its rows at the end of every run."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytest

Figures = Callable[..., None]

_PREFIX = "figure:"


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Tell what a test measured: ``figures("T23", requests=9, let_in=0)``.

    Counts of all tests of a row add up; of measurements, which are floats, the largest is told.
    """
    return partial(_tell, record_property)


def _tell(record_property: Callable[[str, object], None], row: str, /, **measured: float) -> None:
    record_property(_PREFIX + row, measured)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # Properties travel with reports, from the processes of xdist too.
    reports = [report for found in terminalreporter.stats.values() for report in found]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    told = summed(
        (name.removeprefix(_PREFIX), measured)
        for report in calls
        for name, measured in report.user_properties
        if name.startswith(_PREFIX)
    )
    if told:
        terminalreporter.section("figures")
        for line in told:
            terminalreporter.line(line)


def summed(measured: Iterable[tuple[str, Mapping[str, float]]]) -> list[str]:
    """Return a line for each row."""
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for row, figures in measured:
        for name, value in figures.items():
            before = rows[row].get(name, 0)
            rows[row][name] = max(before, value) if isinstance(value, float) else before + value
    return [f"{row}: {_line(figures)}" for row, figures in sorted(rows.items())]


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in figures.items())
