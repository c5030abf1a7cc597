import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.up import folder as folder_module
from gateway.up.errors import AlreadyRunning
from gateway.up.folder import DataFolder, DevFile, UpState
from gateway.up.keeper import Condition


def state(pid: int, *children: Condition) -> UpState:
    return UpState(pid=pid, url="http://127.0.0.1:8000", started_at=datetime.now(UTC), children=children)


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def a_process_that_holds(lock: int) -> "subprocess.Popen[bytes]":
    """It ends when something is written to it."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))


async def test_a_second_holder_is_refused_with_the_pid_and_the_url_of_the_first(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    async with first.hold():
        first.write_state(state(os.getpid()))
        assert second.is_held()
        with pytest.raises(
            AlreadyRunning, match=rf"pid {os.getpid()}, http://127\.0\.0\.1:8000.*gateway down.*--data-dir"
        ):
            async with second.hold():
                pass
    assert not second.is_held()
    async with second.hold():
        assert first.is_held()


async def test_a_process_that_outlives_its_holder_keeps_the_folder_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_LEFTOVER_PATIENCE", 0.3)
    folder = DataFolder(tmp_path)
    async with folder.hold() as lock:
        survivor = a_process_that_holds(lock)
        child = Condition(name="valkey", state="ready", pid=survivor.pid, restarts=0, since=datetime.now(UTC))
        folder.write_state(state(a_dead_pid(), child))
    with pytest.raises(AlreadyRunning, match=rf"is gone, but valkey \(pid {survivor.pid}\) still runs"):
        async with folder.hold():
            pass
    survivor.communicate(b"\n")
    async with folder.hold():
        assert folder.is_held()


def test_dev_json_has_the_fields_of_the_contract_and_is_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.read_dev() is None
    dev = DevFile(
        url="http://127.0.0.1:8000",
        api_key="gw_a_b",
        admin_key="gw_admin_c",
        temporal_address="127.0.0.1:7233",
        temporal_ui="http://127.0.0.1:8233",
        redis_url="redis://:p@127.0.0.1:6379/0",
        database_url="sqlite:///x.db",
        mail_url="http://127.0.0.1:8025/mail",
    )
    folder.write_dev(dev)
    assert folder.read_dev() == dev
    text = (tmp_path / "dev.json").read_text()
    for name in ("url", "apiKey", "adminKey", "temporalAddress", "temporalUi", "redisUrl", "databaseUrl", "mailUrl"):
        assert f'"{name}": ' in text
    assert (tmp_path / "dev.json").stat().st_mode & 0o777 == 0o600
    folder.remove_dev()
    folder.remove_dev()
    assert folder.read_dev() is None
