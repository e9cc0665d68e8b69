"""Serving with what `make run` installs: the packages that rankd names without its extras, and what these need."""

import importlib.metadata
import json
import os
import subprocess
import sys
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.daemon import DaemonProcess

ABSENT = """
import sys
from importlib.machinery import PathFinder

ABSENT = frozenset(%r)


class Rest(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
"""


@cache
def needed(name, extras=frozenset({""})):
    """A distribution and all that it needs, by canonical name."""
    found = {canonicalize_name(name)}
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            found |= needed(canonicalize_name(requirement.name), frozenset({"", *requirement.extras}))
    return frozenset(found)


def without_all_but(folder, name):
    """Make a folder for PYTHONPATH in which every module is absent that a distribution does not bring."""
    here = needed(name)
    absent = sorted(
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if not any(canonicalize_name(d) in here for d in distributions)
    )
    assert {"pytest", "scipy", "hypothesis"} <= set(absent)
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ABSENT % (absent,))
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The same for rankd, as a folder for PYTHONPATH."""
    return without_all_but(tmp_path_factory.mktemp("rankd") / "absent", "rankd")


def environment(folder):
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *([before] if before else [])])}


def test_serve_and_the_readme_s_first_commands_need_nothing_else(elsewhere, tmp_path):
    """A daemon with the bundled ranker ranks, is asked for its state, and a trace is replayed."""
    (tmp_path / "prompts.txt").write_text("What is 2+2?\nWrite a detailed essay on Rome.\n")
    rows = "".join(f"{i * 0.01},20,{50 + i % 7 * 40}\n" for i in range(200))
    (tmp_path / "trace.csv").write_text("arrival,input_tokens,output_tokens\n" + rows)
    process = DaemonProcess(None, environment=environment(elsewhere))
    try:
        for arguments in (
            ["rank", "prompts.txt", "--json", "--timeout", "60", "--target", process.target],
            ["status", "--json", "--target", process.target],
            ["replay", "--trace", "trace.csv", "--html", "replay.html"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "rankd", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
                env=os.environ | environment(elsewhere), timeout=280,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            if arguments[0] == "rank":
                assert [json.loads(line)["position"] for line in done.stdout.splitlines()] == [1, 2]
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["train", "--data", "rows.jsonl", "--out", "mine"], "pip install 'rankd[train]'"),
        (["proxy", "--upstream", "http://127.0.0.1:9"], "pip install 'rankd[proxy]'"),
        (["replay", "--trace", "trace.parquet"], "pip install 'rankd[log]'"),
    ],
)
def test_what_needs_more_says_what(elsewhere, tmp_path, arguments, remedy):
    """Verbs whose packages are not there end with what to install."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "output_token_count": 2}\n' * 50)
    (tmp_path / "trace.parquet").write_bytes(b"PAR1")
    done = subprocess.run(
        [sys.executable, "-m", "rankd", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | environment(elsewhere), timeout=280,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert remedy in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("distribution", "use"),
    [
        ("rankd-client", "from rankd_client import *; import rankd_client.integration, rankd_client.ordering"),
        ("rankd-client", "from rankd_client import RankClient; assert RankClient('127.0.0.1:9').rank(['a']).failed"),
        ("rankd-vllm", "import rankd_vllm; rankd_vllm.RankMiddleware(print)"),
    ],
)
def test_a_client_needs_what_it_names(tmp_path, distribution, use):
    """Neither the daemon's packages nor those of tests."""
    folder = without_all_but(tmp_path / "absent", distribution)
    command = [sys.executable, "-P", "-c", use]
    done = subprocess.run(command, env=os.environ | environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
