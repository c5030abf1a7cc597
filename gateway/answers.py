"""What a workflow answers to a webhook, as HTTP: data, never a page of the API's origin."""

from typing import Any

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_502_BAD_GATEWAY
from msgspec import Struct

from user_workflows.executions.responses import Answer
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import ExecutionStatus
from user_workflows.interpreter.responses import BODILESS

#: what no browser acts on; every other type, HTML and scripts among them, goes out as plain text
_DATA = frozenset({
    "application/json", "application/jsonl", "application/x-ndjson", "application/xml", "application/yaml",
    "text/calendar", "text/csv", "text/markdown", "text/plain", "text/xml",
})  # fmt: skip

#: whatever a browser takes it for, it is shown in an origin of its own, without scripts, and not guessed at (XML can
#: hold a page)
HARMLESS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Unanswered(Struct, frozen=True, kw_only=True, rename="camel"):
    """The execution closed, or took too long, without a `respond` node having been reached."""

    execution_id: str
    status: ExecutionStatus
    detail: str


def to_response(outcome: Answer | Execution) -> Response[Any]:
    """Return the answer of a workflow, or a word on its absence.

    200: the execution completed without an answer; 502: it ended otherwise; 202: it still runs.
    """
    if isinstance(outcome, Execution):
        return _unanswered(outcome)
    given = {name: value for name, value in outcome.headers.items() if name.lower() != "content-type"}
    content_type = next((value for name, value in outcome.headers.items() if name.lower() == "content-type"), None)
    is_text = isinstance(outcome.body, str)
    body = outcome.body.encode() if is_text else msgspec.json.encode(outcome.body)
    is_empty = outcome.status in BODILESS or outcome.body is None
    return Response(
        b"" if is_empty else body,
        status_code=outcome.status,
        headers=given | HARMLESS,
        media_type=_media_type(content_type, is_text=is_text),
    )


def _media_type(wanted: str | None, *, is_text: bool) -> str:
    if wanted is None:
        return "text/plain" if is_text else "application/json"
    media_type = wanted.partition(";")[0].strip().lower()
    if media_type not in _DATA and not (media_type.startswith("application/") and media_type.endswith("+json")):
        return "text/plain"
    # Without what was said of the encoding: it leaves as UTF-8.
    return media_type


def _unanswered(execution: Execution) -> Response[Unanswered]:
    if not execution.is_closed:
        status, detail = HTTP_202_ACCEPTED, "the workflow goes on, and has not answered yet"
    elif execution.status == "completed":
        status, detail = HTTP_200_OK, "the workflow completed without an answer: no respond node was reached"
    else:
        status, detail = HTTP_502_BAD_GATEWAY, "the workflow ended before it could answer"
    body = Unanswered(execution_id=execution.id, status=execution.status, detail=detail)
    return Response(body, status_code=status)
