"""What Redis does when its memory is full: one that drops messages to make room is no place for them."""

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from internal_jobs.errors import UnsafeRedis

_log = structlog.get_logger(__name__)

#: Seconds that the question may take.
PATIENCE = 2.0


async def refuse_eviction(redis_url: str, *, anyway: bool = False) -> None:
    """Ask Redis at the start of a worker. One that is away, or does not show its configuration, is given the benefit.

    Args:
        redis_url: of the Redis in question.
        anyway: only say what may happen. No job is lost by it, for it is a row; each waits for the sweeper.

    Raises:
        UnsafeRedis: it evicts.
    """
    client = Redis.from_url(redis_url, decode_responses=True, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    async with client:
        try:
            policy = (await client.config_get("maxmemory-policy"))["maxmemory-policy"]
        except ResponseError:
            _log.warning("jobs.redis_policy_unknown", remedy="make sure that maxmemory-policy is noeviction")
            return
        except (RedisError, OSError):
            return
    if policy == "noeviction":
        return
    if not anyway:
        raise UnsafeRedis(str(policy))
    _log.warning("jobs.redis_evicts", policy=policy, effect="messages may vanish; their jobs start seconds later")
