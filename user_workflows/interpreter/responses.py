"""The `respond` node: what a workflow answers to the webhook that started it.

Whoever called gets data, never a page that runs in the API's origin: what a browser would act on goes out as text. The
node costs no history event: its output is the answer, which travels with the record of the step like any output.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.messages import StepError

#: the statuses that a workflow may answer with
STATUSES = range(200, 600)

#: statuses that have no body (RFC 9110 §15)
BODILESS = frozenset({204, 205, 304})

#: of a connection (RFC 9110 §7.6.1), of the message, or of the API's origin as a whole: not a workflow's to say
REFUSED_HEADERS = frozenset({
    "alt-svc", "clear-site-data", "connection", "content-encoding", "content-length", "content-security-policy",
    "content-security-policy-report-only", "cross-origin-embedder-policy", "cross-origin-opener-policy",
    "cross-origin-resource-policy", "date", "keep-alive", "nel", "origin-agent-cluster", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "public-key-pins", "refresh", "report-to", "reporting-endpoints",
    "server", "service-worker-allowed", "set-cookie", "set-cookie2", "sourcemap", "strict-transport-security", "te",
    "trailer", "transfer-encoding", "upgrade", "via", "x-content-type-options", "x-frame-options",
})  # fmt: skip

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
#: visible ASCII, spaces and tabs between: what every server and every client reads alike
_VALUE = re.compile(r"|[!-~]|[!-~][ -~\t]{0,8000}[!-~]")


def answer_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer that a rendered config makes: ``{status, headers, body}``.

    Raises:
        StepFailed: it cannot be sent.
    """
    answer = {
        "status": config.get("status", 200),
        "headers": config.get("headers") or {},
        "body": config.get("body"),
    }
    for path, fault in answer_faults(answer):
        where = ".".join(path)
        raise StepFailed(StepError(type="respond.invalid", message=f"respond: {where} {fault}"))
    return answer


def answer_faults(answer: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield a path within an answer and what is wrong there, to be read after it."""
    status = answer.get("status", 200)
    if not isinstance(status, int) or isinstance(status, bool) or status not in STATUSES:
        yield ("status",), "must be a whole number from 200 to 599"
    elif status in BODILESS and answer.get("body") is not None:
        yield ("body",), f"must be left out: an answer of status {status} has none"
    headers = answer.get("headers") or {}
    if not isinstance(headers, dict):
        yield ("headers",), "must be a map of names to texts"
        return
    for name, value in headers.items():
        if fault := header_fault(name, value):
            yield ("headers", name), fault


def header_fault(name: str, value: Any) -> str | None:
    """Return what is wrong with a header, to be read after its name; ``None``: nothing."""
    if _TOKEN.fullmatch(name) is None:
        return "is not the name of a header"
    lower = name.lower()
    if lower in REFUSED_HEADERS or lower.startswith("access-control-"):
        return "is not for a workflow to set: it says how this API's connections or its origin are treated"
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        return "must be a text in ASCII, on one line, without spaces around it"
    return None
