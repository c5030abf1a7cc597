"""Where commands find what they talk to: a data folder, or the API at GATEWAY_URL."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from gateway.cli.api import Api
from gateway.cli.errors import Unreachable
from gateway.up.folder import DataFolder, DevFile

R = TypeVar("R")

DEFAULT_DATA_DIR = ".gateway"


class _Holder(NamedTuple):
    """Whose key is used: where the environment has it, and where ``dev.json`` does."""

    variable: str
    key_of: Callable[[DevFile], str]


_OWNER = _Holder("GATEWAY_API_KEY", lambda dev: dev.api_key)
_ADMIN = _Holder("GATEWAY_ADMIN_KEY", lambda dev: dev.admin_key)

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder of a running `gateway up`; else GATEWAY_URL and the key of the environment are used.",
)


def find_folder(data_dir: Path | None) -> DataFolder:
    """Return the data folder that is named, or ``.gateway`` in this folder or the nearest one above that has it."""
    if data_dir is not None:
        return DataFolder(data_dir)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DEFAULT_DATA_DIR / "up.lock").exists():
            return DataFolder(folder / DEFAULT_DATA_DIR)
    return DataFolder(here / DEFAULT_DATA_DIR)


def with_folder(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the data folder as its first argument, and the option that names it."""

    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="GATEWAY_DATA_DIR",
        help="Data folder of a running `gateway up`.",
    )
    @wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, **options: Any) -> R:
        return command(find_folder(data_dir), *args, **options)

    return wrapped


def with_api(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the API as its first argument, as an owner of a tenant."""
    return _with_key(command, _OWNER)


def with_admin_api(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the API as its first argument, as the installation's administrator."""
    return _with_key(command, _ADMIN)


def with_either_api(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the API as its first argument, as an owner, or with ``--admin`` as the administrator."""

    @_data_dir
    @click.option("--admin", is_flag=True, help="As the installation's administrator.")
    @wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, admin: bool, **options: Any) -> R:
        with _reach(data_dir, _ADMIN if admin else _OWNER) as api:
            return command(api, *args, **options)

    return wrapped


def open_api(folder: DataFolder) -> Api:
    """Return the API of the `gateway up` on `folder`.

    Raises:
        Unreachable: none is ready there.
    """
    return _open(folder, _OWNER.key_of)


def _with_key(command: Callable[..., R], holder: "_Holder") -> Callable[..., R]:
    @_data_dir
    @wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, **options: Any) -> R:
        with _reach(data_dir, holder) as api:
            return command(api, *args, **options)

    return wrapped


def _reach(data_dir: Path | None, holder: "_Holder") -> Api:
    url, key = os.environ.get("GATEWAY_URL"), os.environ.get(holder.variable)
    if data_dir is None and url:
        if not key:
            raise Unreachable(f"GATEWAY_URL is set, {holder.variable} is not. Set it to a key of that installation.")
        return Api(url, key)
    named = data_dir or os.environ.get("GATEWAY_DATA_DIR")
    return _open(find_folder(Path(named) if named else None), holder.key_of)


def _open(folder: DataFolder, key_of: Callable[[DevFile], str]) -> Api:
    dev = folder.read_dev()
    if dev is None:
        raise Unreachable(
            f"No gateway is ready on {folder.path}. Start one with `gateway up`, name its folder with --data-dir, "
            "or set GATEWAY_URL and GATEWAY_API_KEY."
        )
    return Api(dev.url, key_of(dev))
