"""Fairness: whose jobs enter the window next."""

from collections.abc import Mapping, Sequence
from heapq import heapify, heapreplace


def take_turns(tenants: Sequence[str], in_window: Mapping[str, int], free: int) -> dict[str, int]:
    """Share the free places of a window among the tenants that wait.

    Each place goes to the tenant that holds the fewest, and among equals to the one whose turn comes first: a tenant
    with thousands of jobs gets ahead of nobody who has one.

    Args:
        tenants: those with a backlog, in the order of their turns.
        in_window: places each tenant holds already.
        free: places to give.
    """
    shares = dict.fromkeys(tenants, 0)
    line = [(in_window.get(tenant, 0), turn, tenant) for turn, tenant in enumerate(tenants)]
    if not line:
        return shares
    heapify(line)
    for _ in range(free):
        held, turn, tenant = line[0]
        shares[tenant] += 1
        heapreplace(line, (held + 1, turn, tenant))
    return {tenant: share for tenant, share in shares.items() if share}
