"""Operators of one precedence while they are parsed."""

from user_workflows.expressions.lexer import Token
from user_workflows.expressions.syntax import Logic, Node, Operation, Term


class Chain:
    """Operators that wait for their last operand; closed, they are one flat node."""

    def __init__(self, precedence: int) -> None:
        self.precedence = precedence
        self.operands: list[Node] = []
        self.operators: list[Token] = []

    def add(self, operand: Node, operator: Token) -> None:
        self.operands.append(operand)
        self.operators.append(operator)

    def close(self, last: Node) -> Node:
        operands = (*self.operands, last)
        first = self.operators[0]
        if first.value in ("&&", "||"):
            return Logic(position=first.position, operator=first.value, operands=operands)
        terms = [
            Term(position=operator.position, operator=operator.value, operand=operand)
            for operator, operand in zip(self.operators, operands[1:], strict=True)
        ]
        return Operation(position=first.position, first=operands[0], terms=tuple(terms))
