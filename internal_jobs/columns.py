"""Rows that travel to PostgreSQL by column: one statement, made and prepared once, for any number of rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, String, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from internal_jobs.table import jobs


def unnested(columns: Sequence[str]) -> Select[Any]:
    """Return the rows of `by_column`, of columns of the table `jobs`."""
    return select(*(func.unnest(_array(name)).label(name) for name in columns))


def by_column(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters that `unnested` takes."""
    return {parameter(name): [row[name] for row in rows] for name in columns}


def parameter(column: str) -> str:
    """Name the parameter that stands for a column; by its own name SQLAlchemy would take it for a value to be set."""
    return f"given_{column}"


def _array(column: str) -> ColumnElement[Any]:
    type_ = jobs.c[column].type
    # Cast to a type with a length, what is too long would be cut off and kept.
    # With one dimension said, a list of tags is a value and not an array within.
    return bindparam(parameter(column), type_=ARRAY(Text() if isinstance(type_, String) else type_, dimensions=1))
