"""What expressions may find in `trigger`."""

from collections.abc import Mapping
from typing import Any

from user_workflows.definition.drawing import Drawing
from user_workflows.expressions.kinds import MAP, STRING, Kinds, either, kinds_of, map_of, open_map


def trigger_kinds(drawing: Drawing) -> Kinds:
    """Return the kinds of what the drawn triggers give; without one, or with a manual one, it may be anything."""
    if not drawing.triggers:
        return None
    return either(_given(trigger) for trigger in drawing.triggers.values())


def _given(trigger: Mapping[str, Any]) -> Kinds:
    config = trigger.get("config")
    match trigger.get("type"):
        case "cron":
            payload = config.get("payload") if isinstance(config, dict) else None
            added = payload if isinstance(payload, dict) else {}
            return map_of({"scheduledAt": STRING, **{key: kinds_of(value) for key, value in added.items()}})
        case "webhook":
            return map_of({"method": STRING, "headers": open_map(STRING), "query": MAP, "body": None})
    # A CloudEvent may have any extension.
    return None
