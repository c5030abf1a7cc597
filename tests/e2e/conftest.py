import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, open_installation
from tests.e2e.ledger import open_ledger
from tests.oauth_provider import OAuthProvider, open_provider

STRANGER = Path(__file__).parent / "stranger"


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the stranger's package is installed, entry point and all, without the network."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("stranger") / "source"
    source.mkdir()
    for file in STRANGER.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            target = source / file.relative_to(STRANGER)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(source)], check=True)
    return folder


@pytest.fixture(scope="session")
def provider() -> Iterator[OAuthProvider]:
    """A provider of tokens that the installation may reach."""
    with open_provider() as opened:
        yield opened


@pytest.fixture(scope="session")
def installation(
    stranger: Path, provider: OAuthProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One whole installation for all end-to-end tests."""
    folder = tmp_path_factory.mktemp("installation")
    with (
        open_ledger(folder / "ledger.jsonl") as ledger,
        open_installation(folder, ledger, stranger, f"127.0.0.1:{provider.port}") as opened,
    ):
        yield opened
