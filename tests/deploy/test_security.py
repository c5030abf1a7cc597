"""Every promise of the security page names its tests, and they are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy/security.md"

_NAMED = re.compile(r"`([^`]+)`")
_TEST = re.compile(r"^ *(async )?def test_", re.MULTILINE)


def promises(page: str) -> dict[str, str]:
    """What is promised → the cell that says by what it is tested."""
    section = page.split("\n## What is promised\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 for row in rows), "a promise is a row of three: what, how, tested by"
    return {what.strip(): tested for what, _, tested in rows[1:]}


def named(tested: str) -> Iterator[Path]:
    """The files and folders that a cell names; a bare name is beside the one before it."""
    folder = Path()
    for name in _NAMED.findall(tested):
        path = Path(name) if "/" in name else folder / name
        folder = path if name.endswith("/") else path.parent
        yield path


def faults(page: str) -> list[str]:
    found = []
    for promise, tested in promises(page).items():
        paths = list(named(tested))
        files = [each for path in paths for each in _files(ROOT / path)]
        found += [f"{promise}: {path} is not there" for path in paths if not (ROOT / path).exists()]
        if not any(_TEST.search(file.read_text()) for file in files):
            found.append(f"{promise}: no test is named")
    return found


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path] if path.exists() else []


def test_every_promise_names_tests_that_are_there() -> None:
    page = PAGE.read_text()
    assert len(promises(page)) > 25
    assert faults(page) == []


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("`tests/e2e/test_canary.py`", "`tests/e2e/test_parrot.py`", "tests/e2e/test_parrot.py is not there"),
        ("`test_key_sets.py`", "`test_key_rings.py`", "tests/gateway/auth/test_key_rings.py is not there"),
        ("`tests/plugins/signing/`, `tests/gateway/routes/test_hooks.py` |", "by hand |", "no test is named"),
        ("| `tests/test_packaging.py` |", "| `tests/conftest.py` |", "no test is named"),
    ],
    ids=["file", "beside", "nothing", "no test"],
)
def test_a_promise_without_its_test_is_found(was: str, becomes: str, said: str) -> None:
    page = PAGE.read_text()
    assert was in page
    assert said in " ".join(faults(page.replace(was, becomes, 1)))
