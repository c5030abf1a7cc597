"""What may be wrong with the triggers."""

from typing import Any

from internal_jobs.cron import cron_fault, is_timezone, timezones
from user_workflows.definition.drawing import Drawing
from user_workflows.definition.durations import range_fault
from user_workflows.definition.faults import Faults
from user_workflows.definition.model import MAX_TRIGGERS
from user_workflows.definition.nodes import code, describe
from user_workflows.definition.shape import is_template, match
from user_workflows.definition.trigger_configs import CONFIGS, HMAC_OPTIONS
from user_workflows.expressions import TemplateError, compile_template


def check_triggers(drawing: Drawing, faults: Faults) -> None:
    if len(drawing.triggers) > MAX_TRIGGERS:
        message = f"a definition may hold {MAX_TRIGGERS} triggers, this one holds {len(drawing.triggers)}; remove some"
        faults.add("definition.tooManyTriggers", ("triggers",), message)
    seen: dict[str, int] = {}
    for index, trigger in drawing.triggers.items():
        id = trigger.get("id")
        if isinstance(id, str) and seen.setdefault(id, index) != index:
            message = f"trigger id {id!r} is taken by trigger {seen[id]}; ids must be unique"
            faults.add("trigger.duplicateId", ("triggers", index, "id"), message)
        type = trigger.get("type")
        config = trigger.get("config", {})
        if isinstance(type, str) and type in CONFIGS and isinstance(config, dict):
            _Check(index, drawing, faults).check(type, config)


class _Check:
    """The check of one trigger's config."""

    def __init__(self, index: int, drawing: Drawing, faults: Faults) -> None:
        self._index = index
        self._drawing = drawing
        self._faults = faults

    def check(self, type: str, config: dict[str, Any]) -> None:
        for mismatch in match(config, CONFIGS[type]):
            path = ("triggers", self._index, "config", *mismatch.path)
            self._faults.add(code("trigger", mismatch), path, describe(mismatch, self._faults))
        match type:
            case "cron":
                self._check_cron(config)
            case "webhook":
                self._check_webhook(config)
            case "event":
                self._check_event(config)

    def _check_cron(self, config: dict[str, Any]) -> None:
        cron = config.get("cron")
        if isinstance(cron, str) and (fault := cron_fault(cron)):
            self._add("trigger.invalidCron", "cron", f'"cron" {fault}')
        timezone = config.get("timezone")
        if isinstance(timezone, str) and not is_timezone(timezone):
            hint = self._faults.suggest(timezone, timezones())
            self._add("trigger.unknownTimezone", "timezone", f"there is no time zone {timezone!r}{hint}")
        if fault := range_fault(config.get("catchUp")):
            self._add("trigger.invalid", "catchUp", f'"catchUp" {fault}')

    def _check_webhook(self, config: dict[str, Any]) -> None:
        if config.get("secret") in (None, ""):
            message = "a webhook needs a secret, so that only its sender can start this: the id of a signing credential"
            self._add("trigger.secretMissing", "secret", message)
        scheme = config.get("scheme", "standard")
        if scheme != "hmac":
            for key in sorted(HMAC_OPTIONS.intersection(config)):
                self._add("trigger.invalid", key, f'"{key}" belongs to scheme "hmac"; remove it or change the scheme')
        if config.get("respond") == "workflow" and not any(node.plugin_id == "respond" for node in self._drawing.nodes):
            message = "no respond node is drawn: whoever calls waits for the end of the execution, and gets no answer"
            self._faults.add("trigger.neverAnswers", self._path("respond"), message, severity="warning")

    def _check_event(self, config: dict[str, Any]) -> None:
        condition = config.get("filter")
        if not is_template(condition):
            return
        try:
            references = compile_template(condition).references
        except TemplateError as error:
            for _, fault in error.faults:
                self._add(fault.type, "filter", str(fault))
            return
        for root in dict.fromkeys(reference.root for reference in references if reference.root != "trigger"):
            message = f"a filter sees the event alone, as trigger; there is no {root} yet"
            self._add("trigger.invalid", "filter", message)

    def _path(self, key: str) -> tuple[str | int, ...]:
        return ("triggers", self._index, "config", key)

    def _add(self, code: str, key: str, message: str) -> None:
        self._faults.add(code, self._path(key), message)
