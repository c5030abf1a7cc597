"""Source text to tokens.

The grammar is CEL's (github.com/google/cel-spec, doc/langdef.md, Lexis), without bytes and unsigned literals.
"""

import re
from typing import Any, Literal, NamedTuple

from user_workflows.expressions.errors import ExpressionSyntaxError

Kind = Literal["name", "quoted", "int", "double", "string", "symbol", "end"]


class Token(NamedTuple):
    kind: Kind
    #: the decoded value of a literal, the text of anything else
    value: Any
    position: int


# Possessive quantifiers: no input makes these backtrack.
_TOKEN = re.compile(
    r"""
      (?P<space> (?: [ \t\r\n\f]++ | //[^\n]*+ )++ )
    | (?P<double> [0-9]*+\.[0-9]++(?:[eE][+-]?[0-9]++)?+ | [0-9]++[eE][+-]?[0-9]++ )
    | (?P<hex> 0[xX][0-9a-fA-F]++ )
    | (?P<int> [0-9]++ )
    | (?P<prefix> [rRbB]{0,2} ) (?P<string>
          \"\"\" (?: [^\\] | \\. )*? \"\"\" | \'\'\' (?: [^\\] | \\. )*? \'\'\'
        | \" (?: [^\"\\\r\n]++ | \\[^\r\n] )*+ \" | \' (?: [^\'\\\r\n]++ | \\[^\r\n] )*+ \' )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]*+ )
    | ` (?P<quoted> [A-Za-z0-9_.\-/\ ]++ ) `
    | (?P<symbol> \?\.(?![0-9]) | && | \|\| | <= | >= | == | != | [-+*/%<>!?:.,()\[\]{}] )
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(
    r"""[rR](?: \"\"\".*?\"\"\" | \'\'\'.*?\'\'\' | \"[^\"\r\n]*+\" | \'[^\'\r\n]*+\' )""", re.VERBOSE | re.DOTALL
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
    position, length, braces = start, len(source), 0
    while position < length:
        if inside_template and braces == 0 and source.startswith("}}", position):
            break
        raw = _RAW.match(source, position) if source[position] in "rR" else None
        if raw is not None:
            tokens.append(Token("string", _unquote(raw[0][1:]), position))
            position = raw.end()
            continue
        match = _TOKEN.match(source, position)
        if match is None:
            raise ExpressionSyntaxError(_complaint(source, position), position)
        token = _token(match)
        if token is not None:
            braces += {"{": 1, "}": -1}.get(token.value, 0) if token.kind == "symbol" else 0
            tokens.append(token)
        position = match.end()
    if inside_template and not source.startswith("}}", position):
        hint = 'write }} after it, or {{ "{{" }} for a plain {{'
        raise ExpressionSyntaxError(f"the expression is not closed; {hint}", max(start - 2, 0))
    tokens.append(Token("end", "", position))
    return tokens, position


def _token(match: re.Match[str]) -> Token | None:  # noqa: PLR0911 - one a kind
    kind, position = match.lastgroup, match.start()
    text = match[0]
    if kind == "space":
        return None
    if kind in ("int", "hex", "double") and len(text) > _MAX_DIGITS:
        raise ExpressionSyntaxError("the number has too many digits", position)
    if kind == "int":
        return Token("int", int(text), position)
    if kind == "hex":
        return Token("int", int(text, 16), position)
    if kind == "double":
        return Token("double", float(text), position)
    if kind == "string":
        if match["prefix"]:
            raise ExpressionSyntaxError("bytes literals are not part of this language; use a string", position)
        return Token("string", _unescape(_unquote(text), position), position)
    if kind == "quoted":
        return Token("quoted", match["quoted"], position)
    return Token("name" if kind == "name" else "symbol", text, position)


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


def _complaint(source: str, position: int) -> str:
    character = source[position]
    if character in "\"'`" or source[position : position + 2].lower() in ('r"', "r'"):
        return "the string is not closed; end it with the quote it began with"
    if character in "&|=":
        return f"{character!r} is no operator; write {character * 2}"
    return f"{character!r} is not part of this language"
