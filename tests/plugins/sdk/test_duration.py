import re

import pytest

from plugins.sdk.duration import DURATION_PATTERN, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("7d", 604800), ("0s", 0)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert re.search(DURATION_PATTERN, text)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5S", "1m30s", "٥s", "5s\n"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='like "30s"'):
        parse_duration(text)
    assert not re.search(DURATION_PATTERN, text)
