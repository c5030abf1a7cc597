"""The configuration reference is complete, and names nothing that is not there."""

import re
from pathlib import Path

from gateway.settings import Retention, Settings, load

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "deploy/configuration.md").read_text()

SETTINGS = {f"GATEWAY_{name.upper()}" for name in Settings.__struct_fields__ if name not in {"retention", "temporal"}}
RETENTION = {f"GATEWAY_RETENTION_{name.upper()}" for name in Retention.__struct_fields__}


def test_every_setting_is_in_the_reference() -> None:
    assert (SETTINGS | RETENTION) - set(re.findall(r"GATEWAY_\w+", REFERENCE)) == set()


def test_the_reference_names_only_what_the_code_reads() -> None:
    code = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    read_elsewhere = set(re.findall(r"GATEWAY_\w+", code))
    assert set(re.findall(r"GATEWAY_\w+", REFERENCE)) - SETTINGS - RETENTION - read_elsewhere == set()


def test_the_reference_states_the_defaults_of_retention() -> None:
    stated = dict(re.findall(r"`(GATEWAY_RETENTION_\w+)` \| `(\w+)`", REFERENCE))
    required = {"DATABASE_URL": "sqlite:///x", "REDIS_URL": "redis://x", "MASTER_KEY_FILE": "x"}
    environ = {f"GATEWAY_{name}": value for name, value in required.items()}
    assert stated.keys() == RETENTION
    assert load(environ | stated).retention == load(environ).retention
