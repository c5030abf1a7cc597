"""What a call does to the world outside, which decides how it may be repeated."""

from typing import Literal

#: pure        computes; touches nothing
#: read        looks at the world and leaves it as it was
#: idempotent  acts, and acting again under the same idempotency key changes nothing more
#: unsafe      acts, and acting again acts twice
Effect = Literal["pure", "read", "idempotent", "unsafe"]

#: Effects that need a row in the effect ledger before they happen.
EFFECTFUL: frozenset[Effect] = frozenset({"idempotent", "unsafe"})
