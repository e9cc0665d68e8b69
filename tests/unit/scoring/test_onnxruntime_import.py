"""onnxruntime is loaded in one place, which keeps it from telling anybody anything."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.repository import ROOT

HERE = "rankd/scoring/onnxruntime_import.py"
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
STATE = (
    "import os; from rankd.scoring.onnxruntime_import import import_onnxruntime as load; load(telemetry={telemetry}); "
    "print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
)


def sources():
    """Every Python file that git has, and the Python in documents, by name."""
    names = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.pyi"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not names:
        pytest.skip("not a git checkout")
    for name in names:
        path = ROOT / name
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        if name.endswith(".md"):
            yield from ((name, code) for code in CODE.findall(text))
        else:
            yield name, text


def imported(text):
    """Modules that a text's import statements and calls of importlib name."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a document may show part of a program
        return [line.split()[1] for line in text.splitlines() if re.match(r"\s*(import|from) \S", line)]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            found += [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return found


def test_nobody_else_imports_it():
    """Neither code, nor tests, nor tools, nor what documents show: it would send before anybody could say no."""
    others = {name for name, text in sources() for module in imported(text) if module.split(".")[0] == "onnxruntime"}
    assert others == {HERE}


@pytest.mark.parametrize("before", [None, "0", "", "no"])
@pytest.mark.parametrize(("telemetry", "after"), [(False, "1"), (True, "None")])
def test_the_argument_decides_whatever_the_environment_says(before, telemetry, after, tmp_path):
    """A variable that came out empty, or was set for another program, sends nothing; nor does it undo a setting.

    In a process of its own, whose home and resolver lead nowhere.
    """
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(tmp_path)}
    if before is not None:
        environment["ORT_DISABLE_TELEMETRY"] = before
    if telemetry:  # what would be sent is not: the library is another one
        (tmp_path / "onnxruntime.py").write_text("set_default_logger_severity = disable_telemetry_events = print")
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", STATE.format(telemetry=telemetry)],
        capture_output=True, text=True, env=environment, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == after
    assert done.stderr == ""
    assert not [p for p in tmp_path.rglob("*") if "onnxruntime." not in p.name and p.name != "__pycache__"]


def test_its_lines_while_it_is_loaded_are_kept_from_stderr(tmp_path):
    """What others write meanwhile comes through."""
    (tmp_path / "onnxruntime.py").write_text(
        "import os\n"
        "os.write(2, b'\\x1b[0;93m[W:onnxruntime:Default, device_discovery.cc:1 f()] no GPU\\x1b[m\\n')\n"
        "os.write(2, b'somebody else\\n')\n"
        "set_default_logger_severity = disable_telemetry_events = lambda *_: os.write(2, b'after\\n')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", STATE.format(telemetry=False)],
        capture_output=True, text=True, env=environment, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == "somebody else\nafter\nafter\n"


def test_training_asks_nobody_either():
    """What training imports may load onnxruntime itself, and asks a hub where it is not told that there is none."""
    code = "import rankd.training, os; print([os.environ[n] for n in ('ORT_DISABLE_TELEMETRY', 'HF_HUB_OFFLINE')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['1', '1']"
    assert Path(ROOT / HERE).is_file()
