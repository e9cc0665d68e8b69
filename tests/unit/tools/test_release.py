"""The release script on a copy of the repository: what it builds, what it would push, and what is in its way."""

import hashlib
import subprocess

import pytest
from support.repository import ROOT

from tools import release
from tools.release import Release, ReleaseError, make, problems, stated_versions

VERSION = stated_versions(ROOT)["pyproject.toml"]


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What is tracked here, as one commit of a repository of its own, with a section of the CHANGELOG for the version.

    Without the bundled rankers: packing them takes longer than all else.
    """
    folder = tmp_path_factory.mktemp("release") / "rankd"
    folder.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    wanted = [n.decode() for n in names if n and b".onnx" not in n and not n.startswith((b"tests/", b"docs/"))]
    for name in wanted:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    changes = folder / "CHANGELOG.md"
    changes.write_text(changes.read_text(encoding="utf-8").replace("## [Unreleased]", f"## [{VERSION}] - today", 1))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=r", "-c", "user.email=r@example.com", "commit", "--quiet", "--message", "all of it")
    return folder


def test_every_place_says_the_same_version():
    """Packages, chart and Dockerfile are released as one."""
    assert set(stated_versions(ROOT).values()) == {VERSION}
    assert not list(problems(Release(VERSION, "r.example.com"), dirty=False))[1:], "at most the CHANGELOG's section"


def test_all_is_built_up_to_the_push(checkout, capsys):
    """Wheel and archive of four packages, the chart, their sums; and the commands that would publish them."""
    try:
        make(Release(VERSION, "r.example.com/team", checkout), None, push=False)
    except FileNotFoundError as error:
        pytest.skip(str(error))  # no helm
    out = checkout / "out" / "release" / VERSION
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    assert {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in sums} == sums
    packages = ("rankd", "rankd_client", "rankd_vllm", "rankd_transformers")
    ends = ("-py3-none-any.whl", ".tar.gz")
    assert set(sums) == {f"dist/{p}-{VERSION}{end}" for p in packages for end in ends} | {f"chart/rankd-{VERSION}.tgz"}
    would = [
        line.removeprefix("release: would run: ") for line in capsys.readouterr().out.splitlines() if "run:" in line
    ]
    assert f"docker push r.example.com/team/rankd:{VERSION}-cpu" in would
    assert f"helm push {out}/chart/rankd-{VERSION}.tgz oci://r.example.com/team/charts" in would
    assert any("twine upload" in line for line in would)
    assert would[-1] == f"git push origin v{VERSION}"


def test_what_is_in_the_way_is_named(checkout, monkeypatch, capsys):
    """Another version, no section, changes that are not committed, no images to push: each with what to do."""
    with pytest.raises(ReleaseError, match=r"pyproject.toml says .*, not 9.9.9[\s\S]*Chart.yaml says[\s\S]*no section"):
        make(Release("9.9.9", "r.example.com", checkout), None, push=False)
    (checkout / "stray").write_text("x")
    with pytest.raises(ReleaseError, match="commit them"):
        make(Release(VERSION, "r.example.com", checkout), None, push=False)
    (checkout / "stray").unlink()
    with pytest.raises(ReleaseError, match="install docker"):
        make(Release(VERSION, "r.example.com", checkout), None, push=True)
    monkeypatch.setattr(release, "ROOT", checkout)
    assert release.main(["one", "--registry", "r.example.com"]) == 1
    assert "one is no version" in capsys.readouterr().err
