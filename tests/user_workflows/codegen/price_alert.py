"""Price alert: version 1 of workflow wf_01ABC, as a Temporal workflow.

Written by `gateway workflow export`; the same version gives the same text. It is served by
`gateway worker user-workflows --module FILE`. Nodes are methods, in topological order; `walk` says what
runs after what. Expressions are templates, whose language is the editor's, not Python.
"""

from typing import Any

from temporalio import workflow

from user_workflows.generated import (
    Flow,
    Graph,
    Ports,
    Retry,
    StartExecution,
    Step,
    any_of,
    call_plugin,
    compile_template,
    results,
)

#: the workflow's type on Temporal, and its task queue
TYPE = "wf_01ABC.v1"

#: what expressions see as `vars`
VARIABLES: dict[str, Any] = {"symbol": "AAPL", "threshold": 5, "email": "alerts@example.com"}

PRICE = compile_template({"symbol": "{{ vars.symbol }}"})
DROPPED_CONDITION = compile_template("{{ nodes.price.output.changePercent <= -vars.threshold }}")
MAIL = compile_template(
    {
        "to": "{{ vars.email }}",
        "subject": "{{ vars.symbol }} is down {{ -nodes.price.output.changePercent }} %",
        "text": (
            "{{ vars.symbol }} stands at {{ nodes.price.output.price }}, more than "
            "{{ vars.threshold }} % below the day before.\n"
            "\n"
            "Sent by a step of a workflow, on Temporal."
        ),
    },
)
RECEIPT = compile_template(
    {
        "type": "email.send",
        "payload": {
            "to": "receipts@example.com",
            "subject": "Receipt: {{ vars.email }} was told about {{ vars.symbol }}",
            "text": (
                "The alert of execution {{ execution.id }} went out as "
                "{{ nodes.mail.output.messageId }}.\n"
                "\n"
                "Sent by a job, on Dramatiq."
            ),
        },
    },
)


@workflow.defn(name=TYPE)
class PriceAlert:
    """Price alert."""

    @workflow.init
    def __init__(self, start: StartExecution) -> None:
        self.flow = Flow(start, variables=VARIABLES)

    @workflow.run
    async def run(self, start: StartExecution) -> Any:
        """Run it to its end and return its output."""
        return await self.flow.run(self.walk)

    async def walk(self, graph: Graph) -> Any:
        """What runs after what."""
        price = graph.node("price", self.price, label="Get the price")
        dropped = graph.node("dropped", self.dropped, any_of(price.port("output")), label="Did it drop?")
        mail = graph.node("mail", self.mail, any_of(dropped.port("true")), label="Tell the user")
        receipt = graph.node("receipt", self.receipt, any_of(mail.port("output")), label="Queue a receipt")
        await graph.settled()
        return results(receipt)

    async def price(self, step: Step) -> Ports:
        """`stock.price` "Get the price"."""
        return await call_plugin(step, "stock.price", PRICE)

    async def dropped(self, step: Step) -> Ports:
        """`if` "Did it drop?"."""
        return {"true" if step.holds(DROPPED_CONDITION, "condition") else "false": step.input}

    async def mail(self, step: Step) -> Ports:
        """`email.send` "Tell the user"."""
        return await call_plugin(step, "email.send", MAIL, retry=Retry(max_attempts=5))

    async def receipt(self, step: Step) -> Ports:
        """`job.enqueue` "Queue a receipt"."""
        return await call_plugin(step, "job.enqueue", RECEIPT)
