"""Short texts that a caller gives: no control characters, which neither people nor every database can read."""

from typing import Annotated

from litestar.params import QueryParameter
from msgspec import Meta

# The last assertion is for Python, whose `$` lets a line break follow.
PRINTABLE = r"^[^\x00-\x1f\x7f]*$(?!\n)"

#: a name for people
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
#: an id of something else, in a body
Id = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
#: what a list is narrowed by
Filter = Annotated[str | None, QueryParameter(max_length=200, pattern=PRINTABLE)]
