"""The example: watch a price on a schedule, tell the user by mail when it drops, queue a receipt."""

import json
from importlib.resources import files
from typing import Any


def price_alert() -> dict[str, Any]:
    """Return the definition of the example workflow."""
    definition: dict[str, Any] = json.loads(files("gateway.demo").joinpath("price_alert.json").read_bytes())
    return definition
