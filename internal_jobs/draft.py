"""From a request to the row of a job, or to the reason why there can be none."""

from datetime import datetime, timedelta

import msgspec

from internal_jobs.destination import destination_of
from internal_jobs.errors import InvalidJob
from internal_jobs.insertion import NewJob
from internal_jobs.jobs import DEFAULT_TIMEOUT, MAX_PAYLOAD, JobRequest
from internal_jobs.store import key_digest, place
from plugins.sdk.duration import parse_duration
from plugins.storage.database import now
from plugins.vault.cipher import Sealer

#: The longest that a job may be put off or live.
_LONGEST = timedelta(days=366)


def draft(
    tenant_id: str,
    request: JobRequest,
    sealer: Sealer,
    *,
    id: str,
    key: str | None,
    actor: str | None = None,
    traceparent: str | None = None,
) -> NewJob:
    """Return the row of a job that was checked.

    Raises:
        InvalidJob: a moment is too far away.
    """
    created = now()
    debounce = None if request.debounce is None else _span("/debounce", request.debounce)
    available = _available(request, created) if debounce is None else created + debounce
    timeout = DEFAULT_TIMEOUT if request.timeout is None else _span("/timeout", request.timeout).total_seconds()
    row = {
        "tenant_id": tenant_id,
        "id": id,
        "type": request.type,
        "queue": request.queue,
        "destination": destination_of(request.payload),
        "status": "scheduled" if available > created else "queued",
        "payload_sealed": sealer.seal_json(request.payload, place("payload", id)),
        "credentials": request.credentials,
        "tags": list(request.tags),
        "actor": actor,
        "idempotency_key": None if key is None else key_digest(tenant_id, key),
        "singleton_key": None if request.singleton_key is None else key_digest(tenant_id, request.singleton_key),
        "debounced_since": None if debounce is None else created,
        "traceparent": traceparent,
        "max_attempts": request.retry.max_attempts if request.retry else request.max_attempts,
        "retry": None if request.retry is None else msgspec.to_builtins(request.retry),
        "lane": request.lane,
        "on_exhausted": request.on_exhausted,
        "timeout": timeout,
        "created_at": created,
        "available_at": available,
        # Rows are inserted together: each has every column.
        "closed_at": None,
        "error_type": None,
        "error_sealed": None,
        "expires_at": None if request.ttl is None else available + _span("/ttl", request.ttl),
    }
    return NewJob(row, replaces=_wins(request) or debounce is not None, debounce=debounce)


def check(request: JobRequest) -> None:
    """Refuse what is too large, and options that contradict each other.

    Raises:
        InvalidJob
    """
    if request.at is not None and request.delay is not None:
        raise InvalidJob("/at", "and /delay exclude each other; give one of them")
    if request.debounce is not None and (request.at is not None or request.delay is not None):
        raise InvalidJob("/debounce", "says when it begins; leave out /at and /delay")
    if request.singleton_key is None:
        for name, given in (("debounce", request.debounce is not None), ("singletonWins", _wins(request))):
            if given:
                raise InvalidJob(f"/{name}", "needs a /singletonKey: it says which jobs stand for each other")
    if request.retry is not None and request.max_attempts is not None:
        raise InvalidJob("/maxAttempts", "is a part of /retry, which is given, too; say it there")
    if (size := len(msgspec.json.encode(request.payload))) > MAX_PAYLOAD:
        raise InvalidJob("/payload", f"is {size} bytes of JSON; at most {MAX_PAYLOAD} are kept")


def _wins(request: JobRequest) -> bool:
    return request.singleton_wins == "newest"


def _available(request: JobRequest, created: datetime) -> datetime:
    if request.delay is not None:
        return created + _span("/delay", request.delay)
    if request.at is None:
        return created
    if request.at > created + _LONGEST:
        raise InvalidJob("/at", f"is more than {_LONGEST.days} days away")
    return max(request.at, created)


def _span(pointer: str, duration: str) -> timedelta:
    seconds = parse_duration(duration)
    if seconds > _LONGEST.total_seconds():
        raise InvalidJob(pointer, f"{duration!r} is longer than {_LONGEST.days} days")
    return timedelta(seconds=seconds)
