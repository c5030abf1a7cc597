"""How the person at the terminal can call this program again."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from gateway.cli.reach import DEFAULT_DATA_DIR
from gateway.up.folder import DataFolder


def program() -> str:
    """Return ``gateway`` where the shell would find this very program, else the path to it."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        called = Path(sys.executable).with_name("gateway")
    found = shutil.which("gateway")
    if found is not None and Path(found).resolve() == called.resolve():
        return "gateway"
    shortest = min(os.path.relpath(called), str(called.absolute()), key=len)
    return shlex.quote(shortest)


def command(text: str, folder: DataFolder) -> str:
    """Return a command line of this program that finds `folder` from here."""
    here = folder.path == Path(DEFAULT_DATA_DIR).resolve() or os.environ.get("GATEWAY_DATA_DIR") == str(folder.path)
    return f"{program()} {text}" + ("" if here else f" --data-dir {shlex.quote(str(folder.path))}")
