"""What the nodes of a generated workflow do: calls of plugins, and the control nodes that are more than Python."""

from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from msgspec import structs

from plugins.host.retry import Retry
from user_workflows.expressions import Meter, Template
from user_workflows.generated.graph import Step
from user_workflows.interpreter.approvals import run_approval
from user_workflows.interpreter.calls import run_call
from user_workflows.interpreter.control import FILTER_STEPS, Ports, boolean, name_of
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped, StepFailed
from user_workflows.interpreter.messages import ExecutionError, StepError
from user_workflows.interpreter.responses import answer_of
from user_workflows.interpreter.steps import run_step
from user_workflows.interpreter.waits import run_wait


async def call_plugin(
    step: Step,
    plugin: str,
    config: Template,
    *,
    timeout: float = 30.0,
    retry: Retry | None = None,
    credentials: Mapping[str, str] | None = None,
    on_unknown: Literal["fail", "retry"] = "fail",
) -> Ports:
    """Call a plugin by the activity of its name: the same that the interpreter calls.

    Args:
        step: of the node.
        plugin: its id.
        config: rendered before the call.
        timeout: seconds for one attempt.
        retry: consent to try again whatever the effect; else the plugin's effect decides.
        credentials: slot → credential id; the secret is read inside the call.
        on_unknown: what becomes of an effect that nobody knows to have happened.

    Raises:
        StepFailed: the call failed for good.
        ExpressionError: an expression of `config` failed.
    """
    state = step.state
    state.node = structs.replace(
        state.node,
        plugin=plugin,
        timeout=timeout,
        retry=retry,
        credentials=dict(credentials or {}),
        on_unknown=on_unknown,
    )
    rendered = step.render(config)
    engine = step.graph.engine
    result = await run_step(engine.start, state, rendered, engine.figures)
    state.attempt = result.attempt
    return {result.port: result.output}


async def call_workflow(step: Step, config: Template) -> Ports:
    """Start another workflow, and wait for its output unless it is detached.

    Raises:
        StepFailed: it could not be started, or did not complete.
        ExpressionError: an expression of `config` failed.
    """
    engine = step.graph.engine
    rendered = step.render(config)
    engine.figures.count()
    return await run_call(engine.start, step.graph, step.state, rendered, told=engine.told, tell=engine.tell)


async def wait(step: Step, config: Template) -> Ports:
    """Wait for a duration, until a moment, or for a named signal.

    Raises:
        StepFailed: the duration or moment cannot be read.
        ExpressionError: an expression of `config` failed.
    """
    engine = step.graph.engine
    rendered = step.render(config)
    return await run_wait(step.graph, step.state, rendered, engine.signals, figures=engine.figures, tell=engine.tell)


async def ask(step: Step, config: Template, *, form: Mapping[str, Any] | None = None) -> Ports:
    """Ask people to approve, each by a link that works once, and wait until it is decided.

    Args:
        step: of the node.
        config: what they are asked.
        form: JSON Schema of what an approving decision fills in.

    Raises:
        StepFailed: the rendered config cannot be used.
        ExpressionError: an expression of `config` failed.
    """
    engine = step.graph.engine
    rendered = step.render(config) | ({} if form is None else {"form": dict(form)})
    return await run_approval(
        engine.start,
        step.graph,
        step.state,
        rendered,
        engine.told,
        figures=engine.figures,
        tell=engine.tell,
    )


def keep(step: Step, items: Template, where: Template) -> Ports:
    """Leave with the items for which a condition holds.

    Raises:
        StepFailed: `items` is not a list, or `where` gives no boolean.
        ExpressionError: one of both failed.
    """
    listed = step.render(items)
    if not isinstance(listed, list):
        raise StepFailed(StepError(type="config.type", message=f"items must be a list, not {name_of(listed)}"))
    meter = Meter(steps=FILTER_STEPS)
    kept = [
        item
        for index, item in enumerate(listed)
        if boolean(where.render({**step.scope, "item": item, "index": index}, meter), "where")
    ]
    return {"output": kept}


def respond(step: Step, config: Template) -> Ports:
    """Answer the webhook that started the execution.

    Raises:
        StepFailed: the answer cannot be sent.
        ExpressionError: an expression of `config` failed.
    """
    return {"output": answer_of(step.render(config))}


def stop(step: Step, config: Template) -> NoReturn:
    """End the execution here, as completed or as failed.

    Raises:
        ExecutionStopped: as completed, with an output.
        ExecutionFailed: as failed, with a message.
        ExpressionError: an expression of `config` failed.
    """
    rendered = step.render(config)
    step.graph.nodes[step.state.node.id].complete({"output": rendered.get("output")})
    if rendered.get("status") == "failed":
        message = str(rendered.get("message") or "stopped by the workflow")
        raise ExecutionFailed(ExecutionError(type="execution.stopped", message=message, node_id=step.state.node.id))
    raise ExecutionStopped(rendered.get("output"))
