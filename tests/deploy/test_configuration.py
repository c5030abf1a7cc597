"""The configuration reference is complete, and names nothing that is not there."""

import re
from pathlib import Path

from gateway.settings import Retention, Settings, load
from user_workflows.admission.caps import Caps

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "deploy/configuration.md").read_text()

GROUPS = {"retention", "caps", "temporal"}
SETTINGS = {f"GATEWAY_{name.upper()}" for name in Settings.__struct_fields__ if name not in GROUPS}
CAPS = {f"GATEWAY_CAPS_{name.upper()}" for name in Caps.__struct_fields__}
RETENTION = {f"GATEWAY_RETENTION_{name.upper()}" for name in Retention.__struct_fields__}


def test_every_setting_is_in_the_reference() -> None:
    assert (SETTINGS | RETENTION | CAPS) - set(re.findall(r"GATEWAY_\w+", REFERENCE)) == set()


def test_the_reference_names_only_what_the_code_reads() -> None:
    code = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    read_elsewhere = set(re.findall(r"GATEWAY_\w+", code))
    assert set(re.findall(r"GATEWAY_\w+", REFERENCE)) - SETTINGS - RETENTION - CAPS - read_elsewhere == set()


def test_the_reference_states_the_defaults_of_retention() -> None:
    stated = dict(re.findall(r"`(GATEWAY_RETENTION_\w+)` \| `(\w+)`", REFERENCE))
    required = {"DATABASE_URL": "sqlite:///x", "REDIS_URL": "redis://x", "MASTER_KEY_FILE": "x"}
    environ = {f"GATEWAY_{name}": value for name, value in required.items()}
    assert stated.keys() == RETENTION
    assert load(environ | stated).retention == load(environ).retention
