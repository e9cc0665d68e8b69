import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAYERED = """
[[tool.importlinter.contracts]]
name = "rooms"
type = "layers"
exhaustive = true
containers = ["rankd"]
layers = ["door", "left | right", "cellar : stairs"]
"""


def _write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def _run(root, *flags):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools.structure", "--root", str(root), *flags]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def _figures(root):
    done = _run(root, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def checkout(tmp_path):
    """Three rooms, each on the one below, and a client; nothing is wrong with it."""
    _write(
        tmp_path,
        {
            "pyproject.toml": LAYERED.replace("left | right", "left"),
            "rankd/__init__.py": "",
            "rankd/door.py": "import json\nfrom rankd.left import high, low\n\nclass Door:\n    pass\n",
            "rankd/left/__init__.py": "",
            "rankd/left/high.py": "from . import low\nfrom ..cellar import Coal\n",
            "rankd/left/low.py": "",
            "rankd/cellar.py": "class Coal:\n    pass\n",
            "rankd/stairs.py": "from rankd import cellar\n",
            "clients/python/rankd_client/__init__.py": '__all__ = ["Client", "Error"]\n',
            "clients/python/rankd_client/v1/rank_pb2.py": "class Door:\n    pass\n" * 200,
            "tests/test_door.py": "class Door:\n    pass\n",
            ".venv/rankd.py": "class Door:\n    pass\n" * 200,
        },
    )
    return tmp_path


def test_what_is_in_order_passes(checkout):
    figures = _figures(checkout)
    values = {name: figure["value"] for name, figure in figures.items()}
    assert values == {
        "loose_modules": 4,
        "packages": 1,
        "layers": 3,
        "room_imports": 3,
        "upward_imports": 0,
        "modules_on_no_layer": 0,
        "circles_at_load": 0,
        "circles_with_calls": 0,
        "circles": 0,
        "class_names": 2,
        "repeated_class_names": 0,
        "longest_file": 5,
        "long_files": 0,
        "longest_function": 0,
        "long_functions": 0,
        "public_names": 2,
        "lines": 13,
    }
    assert figures["lines"]["found"] == ["clients: 1", "rankd: 10", "tests: 2"]
    checked = _run(checkout, "--check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "rankd/stairs.py" in _run(checkout).stdout


@pytest.mark.parametrize(
    ("path", "text", "offender"),
    [
        (
            "rankd/left/low.py",
            "def f():\n    import rankd.door\n",
            "rankd/left/low.py:2: rankd.left.low imports rankd.door",
        ),
        ("rankd/attic.py", "", "rankd/attic.py: rankd.attic stands on no layer"),
        ("rankd/left/low.py", "from rankd.left.high import Coal\n", "rankd.left.high <-> rankd.left.low"),
        ("rankd/left/low.py", "class _Coal:\n    pass\n", "Coal: rankd/cellar.py:1, rankd/left/low.py:1"),
        ("tests/test_long.py", "\n" * 351, "tests/test_long.py: 351"),
        ("tools/long.py", "class A:\n    async def f():\n" + "        1\n" * 50, "tools/long.py:2 f: 51"),
    ],
)
def test_check_names_what_is_not(checkout, path, text, offender):
    _write(checkout, {path: text})
    checked = _run(checkout, "--check")
    assert checked.returncode == 1
    assert f"\n  {offender}\n" in checked.stderr


def test_check_counts_loose_modules(checkout):
    places = ", ".join(f'"m{number}"' for number in range(4))
    contract = (checkout / "pyproject.toml").read_text().replace('"door"', f'"door", {places}')
    _write(checkout, {"pyproject.toml": contract} | {f"rankd/m{number}.py": "" for number in range(4)})
    assert _run(checkout, "--check").returncode == 0
    _write(checkout, {"rankd/__main__.py": "", "pyproject.toml": contract.replace('"door"', '"__main__", "door"')})
    checked = _run(checkout, "--check")
    assert checked.returncode == 1
    assert checked.stderr.startswith("9 Python files directly in rankd/")


def test_siblings_are_independent_where_the_contract_says_so(checkout):
    _write(
        checkout,
        {
            "pyproject.toml": LAYERED,
            "rankd/right.py": "from rankd.left import low\n",
            "rankd/cellar.py": "class Coal:\n    import rankd.door as up\n",
        },
    )
    upward = _figures(checkout)["upward_imports"]
    assert upward["value"] == 2
    assert upward["found"] == [
        "rankd/cellar.py:2: rankd.cellar imports rankd.door",
        "rankd/right.py:1: rankd.right imports rankd.left.low",
    ]


def test_circles_are_told_by_when_their_imports_are_carried_out(checkout):
    typed = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rankd.left import low\nelse:\n    import rankd\n"
    )
    _write(
        checkout,
        {
            "rankd/left/low.py": "def f():\n    from rankd.left.high import Coal\n",
            "rankd/cellar.py": typed + "class Coal:\n    pass\n",
        },
    )
    figures = _figures(checkout)
    assert figures["circles_at_load"]["found"] == []
    assert figures["circles_with_calls"]["found"] == ["rankd.left.high <-> rankd.left.low"]
    assert figures["circles"]["found"] == ["rankd.cellar <-> rankd.left.high <-> rankd.left.low"]


def test_without_a_contract_rooms_in_circles_count(checkout):
    _write(checkout, {"pyproject.toml": "", "rankd/cellar.py": "import rankd.door\nclass Coal:\n    pass\n"})
    figures = _figures(checkout)
    assert "modules_on_no_layer" not in figures
    assert figures["upward_imports"]["value"] == 3
    assert figures["layers"]["value"] == 2


def test_what_is_no_checkout_is_refused(tmp_path):
    refused = _run(tmp_path)
    assert refused.returncode == 2
    assert "it has no folder rankd" in refused.stderr
