"""The parameter of what can tell first what it would do."""

from typing import Annotated

from litestar.params import QueryParameter

DryRun = Annotated[bool, QueryParameter(name="dryRun", description="tell what would happen, and do nothing")]
