"""JSON on the command line: written out, ``@file``, or ``-`` for standard input."""

import json
import sys
from pathlib import Path
from typing import Any

import click


class JsonInput(click.ParamType[Any]):
    """A click parameter that is JSON, ``@file`` with JSON in it, or ``-``."""

    name = "json|@file|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(_read(value))
        except OSError as error:
            self.fail(f"{value[1:]}: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(f"not JSON: {error}", param, ctx)


class JsonFile(JsonInput):
    """A click parameter that names a JSON file, or ``-``."""

    name = "file|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value != "-":
            return super().convert(f"@{value}", param, ctx)
        return super().convert(value, param, ctx)


def _read(value: str) -> str:
    if value == "-":
        return sys.stdin.read()
    return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
