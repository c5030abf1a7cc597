"""Source text to tokens.

The grammar is CEL's (github.com/google/cel-spec, doc/langdef.md, Lexis), without bytes and unsigned literals.
"""

import re
from typing import Any

from msgspec import Struct

from user_workflows.expressions.errors import ExpressionSyntaxError


class Token(Struct, frozen=True, gc=False):
    #: ``name``, ``quoted``, ``int``, ``double``, ``string`` or ``end``; a symbol is a kind of its own: ``+``, ``(``
    kind: str
    #: the decoded value of a literal, the text of anything else
    value: Any
    position: int


# Possessive quantifiers: no input makes these backtrack. Symbols are tried first, being most; a point before a digit is
# that of a number.
_SPACE = re.compile(r"(?: [ \t\r\n\f]++ | //[^\n]*+ )*+", re.VERBOSE)
_TOKEN = re.compile(
    rf"""{_SPACE.pattern} (?:
      (?P<symbol> \?\.(?![0-9]) | && | \|\| | <= | >= | == | != | \.(?![0-9]) | [-+*/%<>!?:,()\[\]{{}}] )
    | (?P<raw> [rR](?: \"\"\".*?\"\"\" | \'\'\'.*?\'\'\' | \"[^\"\r\n]*+\" | \'[^\'\r\n]*+\' ) )
    | (?P<double> [0-9]*+\.[0-9]++(?:[eE][+-]?[0-9]++)?+ | [0-9]++[eE][+-]?[0-9]++ )
    | (?P<hex> 0[xX][0-9a-fA-F]++ )
    | (?P<int> [0-9]++ )
    | (?P<string>
          \"\"\" (?: [^\\] | \\. )*? \"\"\" | \'\'\' (?: [^\\] | \\. )*? \'\'\'
        | \" (?: [^\"\\\r\n]++ | \\[^\r\n] )*+ \" | \' (?: [^\'\\\r\n]++ | \\[^\r\n] )*+ \' )
    | (?P<bytes> [rR]?[bB][rR]? (?=[\"\']) )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]*+ )
    | (?P<quoted> ` [A-Za-z0-9_.\-/\ ]++ ` )
    | (?P<end> \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.|$))",
    re.DOTALL,
)
_SINGLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
#: more digits than any 64-bit integer or double needs
_MAX_DIGITS = 400


def tokenize(source: str, start: int = 0, *, inside_template: bool = False) -> tuple[list[Token], int]:
    """Return the tokens of `source` from `start`, an ``end`` token last, and the offset where they end.

    Inside a template the expression stops at the ``}}`` that closes it; braces of maps and in strings do not.

    Raises:
        ExpressionSyntaxError: something is no token, or the closing ``}}`` is missing.
    """
    tokens: list[Token] = []
    position, braces = start, 0
    while True:
        match = _TOKEN.match(source, position)
        if match is None or (kind := match.lastgroup) is None:
            raise _complaint(source, position)
        at, position = match.span(kind)
        text = source[at:position]
        if kind == "symbol":
            if text == "{":
                braces += 1
            elif text == "}":
                if inside_template and not braces and source.startswith("}}", at):
                    position = at
                    break
                braces -= 1
            tokens.append(Token(text, text, at))
        elif kind == "name":
            tokens.append(Token("name", text, at))
        elif kind == "end":
            break
        else:
            tokens.append(_literal(kind, text, at))
    if inside_template and not source.startswith("}}", position):
        hint = 'write }} after it, or {{ "{{" }} for a plain {{'
        raise ExpressionSyntaxError(f"the expression is not closed; {hint}", max(start - 2, 0))
    tokens.append(Token("end", "", position))
    return tokens, position


def _literal(kind: str, text: str, position: int) -> Token:
    if kind in ("int", "hex", "double") and len(text) > _MAX_DIGITS:
        raise ExpressionSyntaxError("the number has too many digits", position)
    match kind:
        case "int":
            return Token("int", int(text), position)
        case "hex":
            return Token("int", int(text, 16), position)
        case "double":
            return Token("double", float(text), position)
        case "raw":
            return Token("string", _unquote(text[1:]), position)
        case "bytes":
            raise ExpressionSyntaxError("bytes literals are not part of this language; use a string", position)
        case "quoted":
            return Token("quoted", text[1:-1], position)
    return Token("string", _unescape(_unquote(text), position), position)


def _unquote(text: str) -> str:
    width = 3 if text[:3] in ('"""', "'''") else 1
    return text[width:-width].replace("\r\n", "\n") if width == 3 else text[1:-1]


def _unescape(text: str, position: int) -> str:
    if "\\" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        single, two, four, eight, octal, other = match.groups()
        if single is not None:
            return _SINGLE.get(single, single)
        if other is not None:
            raise ExpressionSyntaxError(f"\\{other} is no escape; write \\\\ for a backslash", position)
        code = int(octal, 8) if octal else int(two or four or eight, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ExpressionSyntaxError(f"{match[0]} is no Unicode character", position)
        return chr(code)

    return _ESCAPE.sub(replace, text)


def _complaint(source: str, position: int) -> ExpressionSyntaxError:
    """Return what is wrong at the first place where there is no token."""
    if (space := _SPACE.match(source, position)) is not None:
        position = space.end()
    character = source[position]
    if character in "\"'`":
        message = "the string is not closed; end it with the quote it began with"
    elif character in "&|=":
        message = f"{character!r} is no operator; write {character * 2}"
    else:
        message = f"{character!r} is not part of this language"
    return ExpressionSyntaxError(message, position)
