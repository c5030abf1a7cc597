import ast
from pathlib import Path

import plugins.builtin
from plugins.builtin import BUILTINS, builtins
from plugins.builtin.email.server import parse_smtp_url
from plugins.sdk.schema import config_schema, output_schema

OURS = ("gateway", "user_workflows", "internal_jobs", "plugins")


def test_these_plugins_come_with_the_gateway() -> None:
    ids = ["http.request", "email.send", "email.sendTemplate", "webhook.deliver", "stock.price", "data.sync"]
    assert [plugin.id for plugin in BUILTINS] == ids
    configured = builtins(smtp=parse_smtp_url("smtp://127.0.0.1:25"), quotes={"default": "https://quotes.test"})
    assert [plugin.id for plugin in configured] == [plugin.id for plugin in BUILTINS]


def test_each_has_schemas_and_a_description_for_people() -> None:
    for plugin in BUILTINS:
        for schema in (config_schema(plugin), output_schema(plugin)):
            assert schema["$defs"]
        assert plugin.description.endswith(".")
        assert plugin.config.__struct_config__.forbid_unknown_fields


def test_they_are_written_as_a_stranger_would() -> None:
    """Of our own code they import the SDK's public names, the signatures, and each other."""
    for path in Path(plugins.builtin.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                allowed = name in ("plugins", "plugins.signing") or name.startswith("plugins.builtin")
                assert allowed or name.partition(".")[0] not in OURS, f"{path.name} imports {name}"
