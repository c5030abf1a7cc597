"""When a failed attempt is tried again, by one rule for both engines (design §6, Retries)."""

import random
from typing import Annotated

from msgspec import Meta, Struct

from plugins.sdk.duration import DURATION_PATTERN, parse_duration
from plugins.sdk.effect import Effect
from plugins.sdk.errors import PluginError, Transient

Duration = Annotated[str, Meta(pattern=DURATION_PATTERN)]


class Retry(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a node says about its own retries. Saying it is consent to repeat after every transient error."""

    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 4
    initial_interval: Duration = "1s"
    backoff: Annotated[float, Meta(ge=1, le=10)] = 2.0
    max_interval: Duration = "5m"
    #: error types that end it at once, e.g. ``["http.404"]``
    non_retryable: tuple[str, ...] = ()
    #: false: it is no consent; what acts unsafely is repeated only when it surely did nothing
    repeat_unsafe: bool = True


#: What `read` and `idempotent` steps do when the node says nothing: one try and three more.
DEFAULT = Retry()

#: The longest wait that another side may ask of us with Retry-After, in seconds.
MAX_RETRY_AFTER = 3600.0


def next_delay(retry: Retry | None, effect: Effect, attempt: int, error: PluginError) -> float | None:
    """Return the seconds to wait before the next attempt, or ``None`` when this failure is final.

    Args:
        retry: the node's own policy; ``None`` when it says nothing.
        effect: of this call, as its config makes it.
        attempt: the attempt that failed, from 1.
        error: what it failed with.
    """
    policy = retry or DEFAULT
    if not isinstance(error, Transient) or error.type in policy.non_retryable or attempt >= policy.max_attempts:
        return None
    agreed = retry is not None and retry.repeat_unsafe
    if not agreed and effect == "unsafe" and error.effect != "none":
        return None
    if error.retry_after is not None:
        return min(max(error.retry_after, 0.0), MAX_RETRY_AFTER)
    longest = parse_duration(policy.max_interval)
    try:
        delay = min(parse_duration(policy.initial_interval) * policy.backoff ** (attempt - 1), longest)
    except OverflowError:
        delay = longest
    # Full jitter downwards by a quarter: a crowd that failed together does not come back together.
    return delay * (1 - 0.25 * random.random())  # noqa: S311 - spreads load, guards nothing
