"""What may be wrong with the config of an `approval` node, beyond its types."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from plugins.sdk.duration import DURATION_PATTERN
from user_workflows.definition.durations import is_moment, range_fault
from user_workflows.definition.forms import form_faults
from user_workflows.definition.shape import Path, is_template

_ADDRESS = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")
_DURATION = re.compile(DURATION_PATTERN)


def check_approval(config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for path, fault in form_faults(config.get("form")):
        yield ("form", *path), fault
    approvers, required = config.get("approvers"), config.get("required", 1)
    if isinstance(approvers, list):
        for index, approver in enumerate(approvers):
            if isinstance(approver, str) and not is_template(approver) and not _ADDRESS.fullmatch(approver):
                yield ("approvers", index), "must be an e-mail address, like ann@example.com"
        asked = len({each for each in approvers if isinstance(each, str)})
        if isinstance(required, int) and required > asked:
            yield ("required",), f"must not be more than the {asked} approvers there are"
    deadline = config.get("deadline")
    if isinstance(deadline, str) and not is_template(deadline) and not is_moment(deadline):
        if _DURATION.fullmatch(deadline) is None:
            yield ("deadline",), 'must be a duration or a moment, like "2d" or "2030-01-31T09:00:00Z"'
        elif too_long := range_fault(deadline):
            yield ("deadline",), too_long
    if deadline is None and config.get("onDeadline") is not None:
        yield ("onDeadline",), "belongs to a deadline; add one or remove it"
