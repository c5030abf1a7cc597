"""The settings of a command that is one process of an installation."""

import os

from gateway.cli.errors import Failed
from gateway.errors import SettingsError
from gateway.settings import Settings, load


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        Failed: naming every variable that is missing or wrong.
    """
    try:
        return load(os.environ)
    except SettingsError as error:
        raise Failed(f"The settings are not complete: {error}") from None
