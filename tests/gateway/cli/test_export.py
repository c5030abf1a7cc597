"""`gateway workflow export` at a real API."""

import json
from pathlib import Path
from typing import Any

from tests.gateway.cli.conftest import Gateway


def applied(gateway: Gateway, folder: Path, definition: dict[str, Any]) -> str:
    file = folder / "definition.json"
    file.write_text(json.dumps(definition))
    answer = gateway("workflow", "apply", "-f", str(file), "--publish", "--json")
    assert answer.exit_code == 0, answer.output
    return str(json.loads(answer.stdout)["id"])


def test_a_published_version_is_printed_or_written_as_python(gateway: Gateway, tmp_path: Path) -> None:
    node = {"id": "hello", "pluginId": "set", "config": {"values": {"text": "hello {{ input.name }}"}}}
    id = applied(gateway, tmp_path, {"name": "Exported", "nodes": [node]})
    printed = gateway("workflow", "export", "Exported", "--format", "python")
    assert printed.exit_code == 0, printed.output
    assert f'TYPE = "{id}.v1"' in printed.stdout
    assert "class Exported:" in printed.stdout
    file = tmp_path / "exported.py"
    assert gateway("workflow", "export", id, "--version", "1", "--output", str(file)).exit_code == 0
    assert file.read_text() == printed.stdout
    compile(printed.stdout, str(file), "exec")


def test_what_is_not_there_ends_with_3(gateway: Gateway, tmp_path: Path) -> None:
    definition = {"name": "Draft", "nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]}
    (tmp_path / "draft.json").write_text(json.dumps(definition))
    gateway("workflow", "apply", "-f", str(tmp_path / "draft.json"))
    assert gateway("workflow", "export", "Draft").exit_code == 3
    assert gateway("workflow", "export", "Draft", "--version", "7").exit_code == 3
    assert gateway("workflow", "export", "No such workflow").exit_code == 3
