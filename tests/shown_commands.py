"""Commands that documents show, taken from them and run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from small_home import BIN, Ended, SmallHome

ROOT = Path(__file__).parents[1]


def block(document: str, language: str, text: str) -> str:
    """The one fenced block of a language that holds a text."""
    shown = (ROOT / document).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", shown, re.MULTILINE | re.DOTALL)
    (one,) = [each for each in found if text in each]
    return one


def shell(home: SmallHome, script: str) -> Ended:
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
        cwd=home.path,
        env={**home.env, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
