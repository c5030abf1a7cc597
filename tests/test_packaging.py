"""The distribution holds what running needs, and the locks hold what the distribution asks for."""

import asyncio
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "user_workflows", "internal_jobs", "plugins", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the locked build backend, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    modules = {str(file.relative_to(ROOT)) for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert modules - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_wheel_holds_the_data_that_the_code_reads(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    revisions = {str(file.relative_to(ROOT)) for file in (ROOT / "deploy/migrations/versions").glob("*.py")}
    assert revisions
    needed = {"deploy/migrations/script.py.mako", "gateway/demo/price_alert.json", "gateway/up/quotes.json"}
    assert (needed | revisions) - held == set()


def test_the_wheel_holds_nothing_else_at_its_top(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    assert [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    (entry_points,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "gateway = gateway.cli:main" in archive.read(entry_points).decode()


async def test_the_unpacked_wheel_migrates_a_database_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """The migrations that count are the ones in the wheel: the project's folder is not on the path."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    program = "import asyncio, gateway.migrate as m; print(m.__file__); asyncio.run(m.migrate('sqlite:///gateway.db'))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": "unpacked"}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert Path(output.decode().strip()).is_relative_to(tmp_path)
    assert (tmp_path / "gateway.db").is_file()


def pins(lock: str) -> Iterator[tuple[Requirement, int]]:
    """Yield each pinned requirement of a lock file with the number of its hashes."""
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text()):
        requirement, *hashes = re.split(r"\s*\\\n\s*--hash=", entry.partition("\n    #")[0])
        yield Requirement(requirement), len(hashes)


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_line_of_a_lock_is_one_version_with_hashes(lock: str) -> None:
    entries = list(pins(lock))
    assert len(entries) > 20
    assert [
        str(pin) for pin, hashes in entries if not hashes or not re.fullmatch(r"==[\w.]+", str(pin.specifier))
    ] == []
    assert "://" not in (ROOT / lock).read_text(), "a lock names no index"


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.txt", [("project", "dependencies"), ("project", "optional-dependencies", "embedded")]),
        ("requirements.txt", [("dependency-groups", "build"), ("build-system", "requires")]),
        ("requirements-dev.txt", [("dependency-groups", "dev")]),
    ],
)
def test_the_locks_hold_what_the_project_asks_for(
    lock: str, groups: list[tuple[str, ...]], project: dict[str, object]
) -> None:
    """A changed requirement without `make lock` fails here."""
    locked = {canonicalize_name(pin.name): pin.specifier for pin, _ in pins(lock)}
    for group in groups:
        asked: object = project
        for key in group:
            assert isinstance(asked, dict)
            asked = asked[key]
        assert isinstance(asked, list)
        for requirement in map(Requirement, asked):
            version = str(locked[canonicalize_name(requirement.name)]).removeprefix("==")
            assert requirement.specifier.contains(version), f"{requirement} is locked to {version}: run `make lock`"


def test_both_locks_name_the_same_versions() -> None:
    running = {(pin.name, str(pin.marker)): str(pin.specifier) for pin, _ in pins("requirements.txt")}
    testing = {(pin.name, str(pin.marker)): str(pin.specifier) for pin, _ in pins("requirements-dev.txt")}
    shared = running.keys() & testing.keys()
    assert {name: testing[name] for name in shared} == {name: running[name] for name in shared}
