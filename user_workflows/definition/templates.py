"""The configs of a drawing's nodes as templates: compiled once, for every check that asks."""

from collections.abc import Sequence

from user_workflows.definition.drawing import DrawnNode
from user_workflows.expressions import Placed, Template, TemplateError, compile_template


class Templates:
    def __init__(self) -> None:
        self._compiled: dict[DrawnNode, Template | TemplateError] = {}
        self._by_place: dict[DrawnNode, dict[str, list[Placed]]] = {}

    def of(self, node: DrawnNode) -> Template | TemplateError:
        """Return a node's own config as a template, or what is wrong with it."""
        if node not in self._compiled:
            try:
                self._compiled[node] = compile_template(node.own_config)
            except TemplateError as error:
                self._compiled[node] = error
        return self._compiled[node]

    def placed(self, node: DrawnNode, place: str, text: str) -> Sequence[Placed]:
        """Return the expressions of one string of a node's config; none where it is faulty.

        Args:
            node: in whose config it is.
            place: of the string, as a JSON Pointer within the config.
            text: the string.
        """
        template = self.of(node)
        if isinstance(template, Template):
            if node not in self._by_place:
                by_place = self._by_place[node] = {}
                for each in template.placed:
                    by_place.setdefault(each.pointer, []).append(each)
            return self._by_place[node].get(place, ())
        try:
            return compile_template(text).placed  # what is wrong elsewhere in the config does not matter here
        except TemplateError:
            return ()
