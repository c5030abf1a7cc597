"""What one expression may cost, and the meter that counts it.

A step is the evaluation of one node of the source, or a like amount of work inside a function. Straight-line code is
charged when it is entered and a loop's body once per round, so counting costs nothing on the way.
"""

from typing import Any, Final

from user_workflows.expressions.errors import TooManySteps, TooMuchMemory

#: bytes of UTF-8
MAX_SOURCE = 8 * 1024
MAX_NODES = 2_000
MAX_DEPTH = 48
#: operators at one level, or selections in a row
MAX_CHAIN = 200
MAX_STEPS = 200_000
#: bytes
MAX_MEMORY = 4 * 1024 * 1024
#: characters of a regular expression
MAX_PATTERN = 512
#: bytes of JSON
MAX_OUTPUT = 1024 * 1024
#: expressions in one template, and bytes of source of all of them
MAX_EXPRESSIONS = 1_000
MAX_TEMPLATE_SOURCE = 64 * 1024
#: levels of lists and maps in a value that is compared, rendered or returned
MAX_VALUE_DEPTH = 128

#: steps: a call of a function, one round of a loop, an error that is absorbed
CALL: Final = 3
ROUND: Final = 3
ABSORBED: Final = 12
#: what a list or map costs before its elements, and what each element adds, in bytes
CONTAINER = 64
ELEMENT = 16


class Meter:
    """Counts down what is left of the budget of one evaluation, or of all that share it.

    A shared meter bounds the steps that many renderings take together, e.g. one per item of a list; give it `steps` by
    the time that they may take, about 0.3 µs each.
    """

    __slots__ = ("memory", "output", "patterns", "steps")

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.steps = steps
        self.renew()
        #: regular expressions compiled so far: each is charged once
        self.patterns: dict[tuple[str, bool], Any] = {}

    def renew(self) -> None:
        """Grant memory and output anew: what an earlier evaluation built is gone; the steps it took are not."""
        self.memory = MAX_MEMORY
        self.output = MAX_OUTPUT

    def work(self, steps: int) -> None:
        """Charge `steps`; raises TooManySteps."""
        self.steps -= steps
        if self.steps < 0:
            raise TooManySteps("the expression takes more steps than it may; loop over less data")

    def allocate(self, size: int) -> None:
        """Charge `size` bytes; raises TooMuchMemory."""
        self.memory -= size
        if self.memory < 0:
            raise TooMuchMemory(f"the expression builds more than {MAX_MEMORY // 2**20} MiB of data; build less")

    def allocate_list(self, length: int) -> None:
        self.allocate(CONTAINER + ELEMENT * length)

    def allocate_text(self, text: str) -> None:
        """Charge a string by what it weighs in memory."""
        self.allocate(CONTAINER + weight(text))


def weight(text: str) -> int:
    """Return the most bytes that the characters of `text` take."""
    return len(text) if text.isascii() else 4 * len(text)
