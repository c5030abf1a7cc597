"""Generated modules, loaded from their files to be served."""

import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct


class ModuleFault(Exception):
    """A file holds no workflow that can be served."""


class Generated(Struct, frozen=True, kw_only=True):
    """A workflow that was loaded."""

    workflow: type[Any]
    #: its type on Temporal, and its task queue
    name: str


def load_modules(files: Sequence[Path]) -> list[Generated]:
    """Run modules that the installation's operator names, and return their workflows.

    Raises:
        ModuleFault: a file cannot be read or run, holds no workflow, or the same as another.
    """
    loaded: dict[str, Generated] = {}
    for file in files:
        generated = _load(file)
        if generated.name in loaded:
            raise ModuleFault(f"{file} holds {generated.name}, and so does another file")
        loaded[generated.name] = generated
    return list(loaded.values())


def _load(file: Path) -> Generated:
    name = f"generated_workflow_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModuleFault(f"{file} is no Python module: its name must end with .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (OSError, SyntaxError, ImportError) as error:
        raise ModuleFault(f"{file} cannot be loaded: {error}") from error
    return _workflow_of(module, file)


def _workflow_of(module: ModuleType, file: Path) -> Generated:
    classes = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    name = vars(module).get("TYPE")
    if len(classes) != 1 or not isinstance(name, str):
        raise ModuleFault(f"{file} was not written by `gateway workflow export`: it needs TYPE and one class")
    return Generated(name=name, workflow=classes[0])
