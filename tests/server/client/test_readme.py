"""What the client's README shows, executed."""

import re
import subprocess
import sys

import pytest
from support.repository import ROOT

README = (ROOT / "clients" / "python" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=["sync", "asyncio", "stream"])
def test_examples_run(daemon, code):
    """Each example runs as it stands, but for the port, and gets an answer of the daemon."""
    code = code.replace("127.0.0.1:50051", daemon.target).replace("timeout=0.05", "timeout=30")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "unavailable" not in done.stdout
    assert "timeout" not in done.stdout
    assert len(done.stdout.splitlines()) >= 1
