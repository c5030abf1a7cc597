"""One attempt of one call, and what comes of it: the same on both engines."""

from typing import Any, Literal

from msgspec import Struct, field

from plugins.host.retry import Retry


class Call(Struct, frozen=True, kw_only=True):
    """One attempt of one call of a plugin."""

    #: plugin id
    plugin: str
    #: literal JSON, its expressions already rendered
    config: Any
    tenant_id: str
    #: the execution or job that first asked for it; a replayed execution names its own, a retried one the same
    origin: str
    #: node id, with item and round numbers inside loops; the job type in a job
    step: str
    #: rises with each explicit redo, so that the redo acts again
    generation: int = 1
    #: from 1
    attempt: int = 1
    execution_id: str | None = None
    job_id: str | None = None
    #: slot → credential id
    credentials: dict[str, str] = field(default_factory=dict)
    #: seconds for the plugin's own work
    timeout: float = 30.0
    #: the node's own policy; ``None`` when it says nothing
    retry: Retry | None = None
    #: what an `unsafe` call does when an earlier attempt ended in the dark
    on_unknown: Literal["fail", "retry"] = "fail"
    #: JSON builtins that the caller commits together with the call, before it acts; the first attempt to do so decides
    commit: Any = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What a call gave: JSON builtins, leaving by one port."""

    port: str
    output: Any
