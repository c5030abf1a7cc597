"""One call of a plugin's function: no ledger, no credentials store, no retries, and only `PluginError` out of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from plugins.host.call import Outcome
from plugins.host.scrub import Scrubber
from plugins.host.tasks import run_in_task
from plugins.host.threads import run_in_thread
from plugins.sdk.conform import Nonconforming, conform
from plugins.sdk.context import Context
from plugins.sdk.effect import Effect
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.sdk.plugin import Plugin, Port

#: bytes of one output, encoded as JSON
MAX_OUTPUT = 8 * 2**20
_LONGEST_REASON = 500


def decode_config(plugin: Plugin, config: Any) -> Any:
    """Return `config` as the Struct that the plugin takes.

    Raises:
        Permanent: ``config.invalid``, with a JSON Pointer and a reason for each fault.
    """
    try:
        return conform(plugin.config, config)
    except Nonconforming as error:
        raise Permanent(f"the config of {plugin.id} is not valid: {error}", type="config.invalid") from None


def effect_of(plugin: Plugin, config: Any) -> Effect:
    """Return the effect of a call with this decoded config.

    Raises:
        Permanent: ``plugin.crashed``, the plugin's own function for it failed.
    """
    try:
        return plugin.effect_of(config)
    except Exception as error:
        raise crashed(plugin, error) from error


async def perform(
    plugin: Plugin,
    config: Any,
    context: Context,
    *,
    timeout: float,
    scrubber: Scrubber,
    max_output: int = MAX_OUTPUT,
) -> Outcome:
    """Call the plugin once and return what it gave.

    Raises:
        PluginError: what the plugin raised, or ``timeout``, ``plugin.crashed``, ``plugin.unknownPort``,
            ``output.invalid``, ``output.tooLarge``.
    """
    clock = asyncio.timeout(timeout)
    try:
        async with clock:
            if plugin.is_async:
                result = await run_in_task(plugin(config, context), name=f"plugin-{plugin.id}")
            else:
                result = await run_in_thread(plugin, config, context, name=f"plugin-{plugin.id}")
    except PluginError:
        raise
    except TimeoutError as error:
        reason = f"did not answer within {timeout:g} s" if clock.expired() else f"waited too long: {error}".rstrip(": ")
        raise Transient(f"{plugin.id} {reason}", type="timeout", effect="unknown") from error
    except asyncio.CancelledError as error:
        if _is_asked_to_stop():
            raise
        raise crashed(plugin, error) from error
    except ExceptionGroup as group:
        raise _gravest(plugin, group) from group
    except (Exception, SystemExit) as error:
        raise crashed(plugin, error) from error
    return _outcome(plugin, result, scrubber, max_output)


def crashed(plugin: Plugin, error: BaseException) -> Permanent:
    """Return the error that a user sees for an exception which the plugin did not mean to raise."""
    reason = f"{type(error).__name__}: {error}".rstrip(": ")[:_LONGEST_REASON]
    return Permanent(f"{plugin.id} failed unexpectedly with {reason}", type="plugin.crashed")


def _gravest(plugin: Plugin, group: ExceptionGroup[Exception]) -> PluginError:
    """Return the error that decides for all that failed at once, as in a task group."""
    meant, unmeant = group.split(PluginError)
    if unmeant is not None or meant is None:
        return crashed(plugin, next(_leaves(unmeant or group)))
    gravest: PluginError = min(_leaves(meant), key=_hope)
    return gravest


def _leaves(group: ExceptionGroup[Any]) -> Iterator[Any]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, ExceptionGroup) else (error,)


def _hope(error: PluginError) -> int:
    """Order errors: final ones, those after which it may have acted, those after which surely nothing happened."""
    if not isinstance(error, Transient):
        return 0
    return 2 if error.effect == "none" else 1


def from_any_thread(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return `function` so that it always runs on the present event loop's thread."""
    loop, home = asyncio.get_running_loop(), threading.get_ident()

    def call(argument: Any) -> None:
        if threading.get_ident() == home:
            function(argument)
        else:
            loop.call_soon_threadsafe(function, argument)

    return call


def _is_asked_to_stop() -> bool:
    """Tell a cancellation of this very call from one that leaked out of something the plugin awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _outcome(plugin: Plugin, result: Any, scrubber: Scrubber, max_output: int) -> Outcome:
    port, value = (result.name, result.value) if isinstance(result, Port) else (plugin.ports[0], result)
    if port not in plugin.ports:
        raise Permanent(
            f"{plugin.id} left by port {port!r}, and it declares {', '.join(plugin.ports)}", type="plugin.unknownPort"
        )
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(f"{plugin.id} returned what JSON cannot hold: {error}", type="output.invalid") from error
    if len(encoded) > max_output:
        raise Permanent(
            f"{plugin.id} returned {len(encoded):,} bytes, and at most {max_output:,} are kept; return less, "
            "or a reference to it",
            type="output.tooLarge",
        )
    # Through JSON and back, so that a stored outcome and a fresh one are equal.
    return Outcome(port=port, output=msgspec.json.decode(scrubber.json(encoded)))
