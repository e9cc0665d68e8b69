"""A registry as a directory: places, names, and what is removed from it."""

import json
import os

import pytest

from rankd.errors import ArtifactError, ConfigError, NotFoundError
from rankd.registry.bundled import default_ranker_path
from rankd.registry.history import Place
from rankd.registry.shelf import Shelf, directory_of, place_of

DAY = 86_400.0
NOW = 1_800_000_000.0


def put(root, name, version="1", *, days=30.0, directory=None):
    """A ranker's directory, as far as its manifest, put there so many days ago."""
    path = root / (directory or f"{name}@{version}")
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"name": name, "version": version}))
    for one in (path / "manifest.json", path):
        os.utime(one, (NOW - days * DAY,) * 2)
    return path


@pytest.fixture
def shelf(tmp_path):
    """With the rankers a and b, and what is no ranker."""
    put(tmp_path, "a")
    put(tmp_path, "b", directory="run-7")
    (tmp_path / "no-ranker").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("[")
    (tmp_path / "worse").mkdir()
    (tmp_path / "worse" / "manifest.json").write_text('{"name": "../x", "version": "1"}')
    (tmp_path / "file").touch()
    put(tmp_path, "half", directory=".half@1.tmp")
    return Shelf(tmp_path)


def test_rankers_are_found_by_their_manifests(shelf):
    """What has none, a bad one, or is being copied, is none."""
    assert [(r.ranker_version, r.path) for r in shelf.rankers()] == [("a@1", "a@1"), ("b@1", "run-7")]
    with pytest.raises(ConfigError, match="nowhere"):
        Shelf(shelf.root / "nowhere").rankers()


def test_names(shelf):
    """Versions, directories and aliases lead to a ranker; an alias of an alias leads where that one does now."""
    assert shelf.alias("best", "b@1") == "run-7"
    assert shelf.alias("good", "best") == "run-7"
    shelf.alias("best", "a@1")
    assert shelf.aliases() == {"best": "a@1", "good": "run-7"}
    assert [shelf.named(n).resolve().name for n in ("b@1", "run-7", "good", "best")] == [
        "run-7",
        "run-7",
        "run-7",
        "a@1",
    ]
    with pytest.raises(NotFoundError, match="there: a@1, b@1"):
        shelf.named("c@1")
    for name in ("../x", "", ".", "a/b", "\0"):
        with pytest.raises(NotFoundError):
            shelf.named(name)
    shelf.remove_alias("good")
    with pytest.raises(NotFoundError, match="good"):
        shelf.remove_alias("good")


@pytest.mark.parametrize("name", ["serving", "run-7", "", "a@2", "../out", "a b", ".hidden", "x" * 101])
def test_names_that_no_alias_can_have(shelf, name):
    """Rankd's own, those of directories, and those that are none."""
    with pytest.raises(ConfigError):
        shelf.alias(name, "a@1")
    assert not shelf.aliases()


def test_the_oldest_are_removed_and_nothing_that_is_needed(tmp_path):
    """Not what is kept, has an alias, came within the hour, or is no ranker."""
    shelf = Shelf(tmp_path)
    for number in range(8):
        put(tmp_path, "r", str(number), days=10 - number)
    put(tmp_path, "new", days=0.01)
    (tmp_path / "others").mkdir()
    shelf.alias("best", "r@0")
    (tmp_path / "absolute").symlink_to(tmp_path / "r@2")
    assert shelf.keep(0, [], NOW) == []
    assert sorted(shelf.keep(3, ["r@1"], NOW)) == ["r@3", "r@4", "r@5"]
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"r@0", "r@1", "r@2", "r@6", "r@7", "new@1", "others", "best", "absolute"}
    for number in range(5):
        put(tmp_path, "young", str(number), days=0.001)
    assert shelf.keep(1, ["r@1", "r@6", "r@7"], NOW) == []


def test_a_place_means_the_same_ranker_elsewhere(tmp_path):
    """Below the registry and bundled ones by their names, wherever these are; others by their path."""
    registry = tmp_path / "registry"
    registry.mkdir()
    inside, outside = put(registry, "a"), put(tmp_path, "b")
    bundled = default_ranker_path()
    for path, text in ((inside, "a@1"), (bundled, "bundled:minilm-l6"), (outside, str(outside))):
        place = place_of("v@1", path, registry)
        assert place == Place("v@1", text)
        assert directory_of(place, registry).resolve() == path.resolve()
    for text in ("../b", "bundled:../../x", "", "a\0b", "bundled:"):
        with pytest.raises(ArtifactError):
            directory_of(Place("v@1", text), registry)
    with pytest.raises(ArtifactError):
        directory_of(Place("v@1", "a@1"), None)
