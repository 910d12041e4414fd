"""Whatever a server says on stderr is JSON, line by line."""

from __future__ import annotations

import json
import subprocess
import sys

SPEAKS = """
import logging, warnings
from serving.logs import configure
configure("warning")
logging.getLogger("server").info("not at this level")
logging.getLogger("server").warning("a step is %s", "slow", extra={"seconds": 2.5})
warnings.warn("an old\\nway", FutureWarning, stacklevel=1)
"""


def test_warnings_of_libraries_are_lines_too() -> None:
    found = subprocess.run([sys.executable, "-c", SPEAKS], capture_output=True, text=True, check=True, timeout=60)
    step, warning = map(json.loads, found.stderr.splitlines())
    assert (step["logger"], step["message"], step["seconds"]) == ("server", "a step is slow", 2.5)
    assert warning["logger"] == "py.warnings"
    assert "FutureWarning: an old\nway" in warning["message"]
