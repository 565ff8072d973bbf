"""A kern to talk to: the program that `KERN` names, or the one in the repository's target folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SERVER = Path(__file__).with_name("server.py")


@pytest.fixture
def ring(tmp_path):
    """The path of a ring of a kern with a builtin and, behind a ring of its own, a Python server."""
    program = os.environ.get("KERN", ROOT / "target" / "release" / "kern")
    config, path = tmp_path / "kern.toml", tmp_path / "ring"
    config.write_text(
        '[upstream.in]\nbuiltin = "echo"\n'
        f'[upstream.py]\ncommand = "{sys.executable}"\nargs = ["{SERVER}"]\nring = true\n'
    )
    kern = subprocess.Popen(
        [program, "serve", "--config", config, "--listen", "127.0.0.1:0", "--ring", path],
        stderr=(tmp_path / "log").open("w"),
    )
    until = time.monotonic() + 20
    while not path.exists():
        assert kern.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
        time.sleep(0.02)
    yield path
    kern.terminate()
    assert kern.wait(20) == 0, (tmp_path / "log").read_text()
