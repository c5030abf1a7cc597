"""The macros: calls whose arguments are evaluated once per element, with variables bound.

Source: cel-spec doc/langdef.md (Macros) and cel-go's comprehensions, lists and bindings extensions.
"""

from msgspec import Struct

from user_workflows.expressions.errors import ExpressionSyntaxError
from user_workflows.expressions.syntax import Loop, Name, Node


class Shape(Struct, frozen=True):
    variables: int
    bodies: int
    usage: str


_ONE = (1, 1, "variable, expression")
_TWO = (2, 1, "key, value, expression")
_TWO_FILTERED = (2, 2, "key, value, condition, expression")

MACROS: dict[str, tuple[Shape, ...]] = {
    "all": (Shape(*_ONE), Shape(*_TWO)),
    "exists": (Shape(*_ONE), Shape(*_TWO)),
    "exists_one": (Shape(*_ONE), Shape(*_TWO)),
    "existsOne": (Shape(*_ONE), Shape(*_TWO)),
    "filter": (Shape(*_ONE),),
    "map": (Shape(*_ONE), Shape(1, 2, "variable, condition, expression")),
    "find": (Shape(*_ONE),),
    "sortBy": (Shape(*_ONE),),
    "groupBy": (Shape(*_ONE),),
    "distinctBy": (Shape(*_ONE),),
    "transformList": (Shape(*_TWO), Shape(*_TWO_FILTERED)),
    "transformMap": (Shape(*_TWO), Shape(*_TWO_FILTERED)),
    "transformMapEntry": (Shape(*_TWO), Shape(*_TWO_FILTERED)),
}


def make_loop(name: str, arguments: tuple[Node, ...], position: int, *, optional: bool) -> Loop:
    """Return the loop that a call of macro `name` stands for.

    Raises:
        ExpressionSyntaxError: the arguments have another shape than the macro's.
    """
    for shape in MACROS[name]:
        if shape.variables + shape.bodies == len(arguments):
            variables = tuple(variable_name(argument) for argument in arguments[: shape.variables])
            if len(set(variables)) < len(variables):
                raise ExpressionSyntaxError(f"the variables of {name}() must have different names", position)
            bodies = arguments[shape.variables :]
            return Loop(position=position, macro=name, variables=variables, bodies=bodies, optional=optional)
    usages = " or ".join(f"{name}({shape.usage})" for shape in MACROS[name])
    raise ExpressionSyntaxError(f"write {usages}", position)


def variable_name(node: Node) -> str:
    """Return the name that `node` declares; raises ExpressionSyntaxError when it is not a plain name."""
    if isinstance(node, Name) and not node.absolute:
        return node.name
    raise ExpressionSyntaxError("a plain variable name is needed here", node.position)
