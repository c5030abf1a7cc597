"""Whether a condition asks for what is there: what it then guards may be taken for granted."""

from user_workflows.expressions.syntax import Bind, Call, Constant, Default, Has, Loop, Method, Node, Operation, Path


def asks(node: Node) -> bool:  # noqa: PLR0911 - one case a kind of node
    """Return whether a condition finds out something about what is there, or of which type it is."""
    match node:
        case Has() | Default() | Call(name="type"):
            return True
        case Operation():
            operands = (node.first, *(term.operand for term in node.terms))
            if any(term.operator == "in" for term in node.terms):
                return True
            if any(isinstance(operand, Constant) and operand.value is None for operand in operands):
                return True
        case Path():
            inside = [node.base]
            for link in node.links:
                if link.optional:
                    return True
                inside += link.arguments if isinstance(link, Method) else link.bodies if isinstance(link, Loop) else ()
            return any(asks(each) for each in inside)
        case Bind():
            return asks(node.value) or asks(node.body)
    return any(asks(child) for child in node.children())
