"""The database as a call sees it, before it acts: its absence is a reason to try again."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from plugins.host.errors import Overtaken, trace_of
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.vault.errors import VaultError

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def stored(work: Coroutine[Any, Any, T]) -> T:
    """Await what needs the database.

    Raises:
        Permanent: ``vault.unreadable``, or what `work` raises.
        Transient: ``storage.unavailable``, or what `work` raises.
        Overtaken: `work` raises it.
    """
    try:
        return await work
    except (PluginError, Overtaken):
        raise
    except VaultError as error:
        raise Permanent(str(error), type="vault.unreadable") from error
    except Exception as error:
        # Drivers raise errors of many trees when a connection cannot be made or breaks.
        log.error("plugin.storageUnavailable", trace=trace_of(error))
        raise Transient("the database does not answer", type="storage.unavailable", effect="none") from error
