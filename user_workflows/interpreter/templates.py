"""Compiled expressions of a plan's configs, kept between the executions of one version."""

from functools import lru_cache
from typing import Any

from user_workflows.expressions import Template, compile_template
from user_workflows.plan.model import PlanNode


class Templates:
    """The compiled parts of the configs of one version, compiled when first needed."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str | int, ...], Template] = {}

    def at(self, node: PlanNode, *path: str | int) -> Template:
        """Return the compiled value at `path` within a node's config; without a path, the whole config."""
        key = (node.id, *path)
        template = self._compiled.get(key)
        if template is None:
            value: Any = node.config
            for part in path:
                value = value[part]
            template = self._compiled[key] = compile_template(value)
        return template


@lru_cache(maxsize=512)
def templates_of(tenant_id: str, workflow_id: str, version: int) -> Templates:
    """Return the templates of a version; versions are immutable, so what is kept stays right."""
    return Templates()
