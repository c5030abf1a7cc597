"""The price table of an installation: what use is worth to whoever runs it."""

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from internal_jobs.usage import JobUsage
from user_workflows.executions.usage import ExecutionUsage

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class Prices(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What one of each costs."""

    #: ISO 4217
    currency: Currency
    execution: Decimal = Decimal(0)
    step: Decimal = Decimal(0)
    #: as Temporal Cloud bills them
    billable_action: Decimal = Decimal(0)
    job: Decimal = Decimal(0)
    job_attempt: Decimal = Decimal(0)


class Cost(Struct, frozen=True, kw_only=True):
    currency: str
    #: a decimal number, exact
    amount: Decimal


def cost_of(prices: Prices, executions: ExecutionUsage, jobs: JobUsage) -> Cost:
    amount = (
        prices.execution * executions.executions
        + prices.step * executions.steps
        + prices.billable_action * executions.billable_actions
        + prices.job * jobs.jobs
        + prices.job_attempt * jobs.attempts
    )
    return Cost(currency=prices.currency, amount=amount)


def parse_prices(text: str) -> Prices:
    """Read ``GATEWAY_PRICES``: a JSON object.

    Raises:
        ValueError: saying what is wrong.
    """
    try:
        prices = msgspec.json.decode(text, type=Prices)
    except msgspec.DecodeError as error:
        raise ValueError(f'write a JSON object like {{"currency": "EUR", "execution": "0.002"}}: {error}') from None
    for field in ("execution", "step", "billable_action", "job", "job_attempt"):
        price: Decimal = getattr(prices, field)
        if not price.is_finite() or price < 0:
            raise ValueError(f"{field} must be a number that is not negative")
    return prices
