"""Templates of mails: a safe part of Jinja, in which a missing variable is an error."""

from collections.abc import Iterator
from typing import Annotated, Any

import minijinja
from msgspec import Meta, Struct

from plugins import Permanent

#: Steps and bytes that one part of a template may use, in the engine's own measure: a few milliseconds.
_FUEL = 200_000
_MAX_PART = 256 * 1024

Part = Annotated[str, Meta(max_length=_MAX_PART)]
#: as it stands in a path
TemplateName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,200}$(?!\n)", description="The name of a template.")]


class Template(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail to be filled in: ``{{ name }}``, ``{% for line in lines %}``, ``{% if paid %}``, filters.

    In `html` what is filled in is escaped; `subject` and `text` take it as it is.
    """

    subject: Annotated[str, Meta(min_length=1, max_length=900, description="One line.")]
    text: Part | None = None
    html: Part | None = None


class Filled(Struct, frozen=True, kw_only=True):
    """A template filled in."""

    subject: str
    text: str | None
    html: str | None


def _environment() -> minijinja.Environment:
    environment = minijinja.Environment(
        undefined_behavior="strict",
        auto_escape_callback=lambda part: part == "html",
        finalizer=lambda value: "" if value is None else value,
        fuel=_FUEL,
        # Methods of Python's types are not part of what we promise.
        pycompat=False,
        keep_trailing_newline=True,
    )
    # Shows what is inside; of use to nobody but a developer of the engine.
    environment.remove_global("debug")
    return environment


_ENVIRONMENT = _environment()


def template_faults(template: Template) -> Iterator[tuple[str, str]]:
    """Find what is wrong with a template before it is ever filled in: JSON Pointer and reason."""
    if template.text is None and template.html is None:
        yield "/text", "or /html is needed"
    for part, source in _parts(template):
        try:
            _ENVIRONMENT.undeclared_variables_in_str(source)
        except minijinja.TemplateError as error:
            yield f"/{part}", _reason(error)


def fill_in(template: Template, data: dict[str, Any]) -> Filled:
    """Fill in a template.

    Raises:
        Permanent: type ``email.templateFailed``, naming the part, the line and the reason.
    """
    # `self` is the engine's own word, as in Jinja.
    known = {name: value for name, value in data.items() if name != "self"}
    filled = {part: _fill_in(part, source, known) for part, source in _parts(template)}
    return Filled(subject=filled["subject"], text=filled.get("text"), html=filled.get("html"))


def _parts(template: Template) -> Iterator[tuple[str, str]]:
    for part in ("subject", "text", "html"):
        source = getattr(template, part)
        if source is not None:
            yield part, source


def _fill_in(part: str, source: str, data: dict[str, Any]) -> str:
    try:
        return _ENVIRONMENT.render_str(source, part, **data)
    except minijinja.TemplateError as error:
        raise Permanent(
            f"the template's /{part} cannot be filled in: {_reason(error)}", type="email.templateFailed"
        ) from None


def _reason(error: minijinja.TemplateError) -> str:
    if error.kind == "OutOfFuel":
        return "it takes too many steps, or becomes too large"
    reason = error.detail or error.kind
    advice = "; give it a value, or say `is defined` or `|default('')`" if error.kind == "UndefinedError" else ""
    return f"line {error.line}: {reason}{advice}"
