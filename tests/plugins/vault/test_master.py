import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plugins.vault.errors import MasterKeyError, Unreadable
from plugins.vault.master import MasterKey


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.key"


def test_a_created_key_is_loaded_again(path: Path) -> None:
    wrapped = MasterKey.create(path).wrap(b"data key", "ten_a:1").key
    assert MasterKey.load(path).unwrap(wrapped, 1, "ten_a:1") == b"data key"


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    MasterKey.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_open_to_others_is_refused_with_the_way_out(path: Path, mode: int) -> None:
    MasterKey.create(path)
    path.chmod(mode)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        MasterKey.load(path)


def test_an_existing_file_is_never_overwritten(path: Path) -> None:
    MasterKey.create(path)
    before = path.read_bytes()
    with pytest.raises(MasterKeyError, match="exists"):
        MasterKey.create(path)
    assert path.read_bytes() == before


def test_an_absent_file_is_named(path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"master\.key: No such file"):
        MasterKey.load(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="cannot write"):
        MasterKey.load_or_create(tmp_path / "absent" / "master.key")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"not json",
        b'{"format": 2, "current": 1, "keys": {"1": "AAAA"}}',
        b'{"format": 1, "current": 1, "keys": {"1": "!"}}',
        b'{"format": 1, "current": 1, "keys": {"1": "AAAA"}}',
        b'{"format": 1, "current": 2, "keys": {"1": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}',
        b'{"format": 1, "current": 1, "keys": {}, "extra": 1}',
    ],
)
def test_a_file_of_another_form_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(MasterKeyError):
        MasterKey.load(path)


def test_of_many_who_make_it_at_once_one_wins_and_all_agree(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: MasterKey.load_or_create(path), range(32)))
    wrapped = keys[0].wrap(b"data key", "x").key
    assert all(key.unwrap(wrapped, 1, "x") == b"data key" for key in keys)


def test_what_an_older_version_wrapped_opens_when_a_newer_one_is_current(path: Path) -> None:
    wrapped = MasterKey.create(path).wrap(b"data key", "x").key
    file = json.loads(path.read_text())
    file["keys"]["2"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    path.write_text(json.dumps({**file, "current": 2}))
    master = MasterKey.load(path)
    assert master.versions == (1, 2)
    assert master.unwrap(wrapped, 1, "x") == b"data key"
    assert master.unwrap(master.wrap(b"newer", "x").key, 2, "x") == b"newer"


def test_a_version_that_is_not_in_the_file_is_named() -> None:
    with pytest.raises(MasterKeyError, match="version 7"):
        MasterKey({1: bytes(32)}, 1).unwrap(b"", 7, "x")


@pytest.mark.parametrize(("key", "binding"), [(bytes(32), "y"), (b"k" * 32, "x")])
def test_another_binding_or_another_key_does_not_unwrap(key: bytes, binding: str) -> None:
    wrapped = MasterKey({1: bytes(32)}, 1).wrap(b"data key", "x").key
    with pytest.raises(Unreadable):
        MasterKey({1: key}, 1).unwrap(wrapped, 1, binding)


def test_the_repr_shows_no_key() -> None:
    assert repr(MasterKey({1: b"s" * 32}, 1)) == "MasterKey(versions=[1], current=1)"


def test_a_process_follows_the_file_that_another_one_changes(path: Path) -> None:
    running, rotating = MasterKey.create(path), MasterKey.load(path)
    old = running.wrap(b"data key", "x")
    assert rotating.add_version() == 2
    assert running.wrap(b"data key", "x").master_version == 1, "it is not current yet"
    rotating.make_current(2)
    new = rotating.wrap(b"data key", "x")
    assert running.unwrap(new.key, 2, "x") == b"data key", "it has met a version that it did not know"
    assert running.wrap(b"data key", "x").master_version == 2
    rotating.remove(1)
    assert MasterKey.load(path).versions == (2,)
    with pytest.raises(MasterKeyError, match="version 1"):
        rotating.unwrap(old.key, 1, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_version_that_wraps_and_one_that_is_absent_cannot_be_removed(path: Path) -> None:
    master = MasterKey.create(path)
    for version in (1, 2):
        with pytest.raises(MasterKeyError, match=f"version {version}"):
            master.remove(version)
    with pytest.raises(MasterKeyError, match="no file"):
        MasterKey({1: bytes(32)}, 1).add_version()


def test_two_who_add_a_version_at_once_add_two(path: Path) -> None:
    MasterKey.create(path)
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda _: MasterKey.load(path).add_version(), range(8)))
    assert sorted(added) == list(range(2, 10))
    assert MasterKey.load(path).versions == tuple(range(1, 10))
