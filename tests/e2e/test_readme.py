"""The README's tour is true, to the letter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, wait_for

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(shutil.which("curl") is None and "CI" not in os.environ, reason="the tour is made with curl")
def test_the_tour_of_the_readme_works_as_it_is_written(installation: Installation, tmp_path: Path) -> None:
    (tour,) = re.findall(r"## A tour with curl\n(.*?)\n## ", README.read_text(), re.DOTALL)
    script = "\n".join(re.findall(r"```sh\n(.*?)```", tour, re.DOTALL))
    (tmp_path / ".gateway").symlink_to(installation.up.folder.path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"completed"' in done.stdout

    def both_mails() -> bool | None:
        subjects = {(mail["to"], mail["subject"]) for mail in installation.mails()}
        return {("you@example.com", "AAPL is down 9.25 %"), ("ops@example.com", "A job")} <= subjects or None

    wait_for(both_mails, "the mail of the step and the mail of the job")
