"""Files that are followed: whatever happens to them, what they hold is in force as soon as it can be read."""

import errno
import os
import resource
import threading
from contextlib import contextmanager

import pytest

from rankd.auth import FileWatch, ReloadingFile, reloading_file
from rankd.errors import ConfigError


def parse(contents):
    """A file of one word, of which "typo" is wrong."""
    word = contents["x.file"].decode()
    if word == "typo":
        raise ConfigError("x.file: is wrong")
    return word


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


@pytest.fixture
def file(path):
    return ReloadingFile("x.file", {"x.file": path}, parse)


def looked(file, times=2):
    """What is in force after some looks, and whether all is well."""
    for _ in range(times):
        file.look()
    return file.current, file.state().failing_for is None


@contextmanager
def no_descriptors():
    """Nothing can be opened, as where connections took all descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def failing(monkeypatch, code):
    """Opening fails, as on a volume of the network."""

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(reloading_file.os, "open", fail)
        yield


def test_what_could_not_be_read_was_not_seen(file, path):
    """A change at a moment without descriptors is read at the next, though the file is as it was then."""
    path.write_text("new")
    with no_descriptors():
        assert looked(file) == ("old", False)
    assert looked(file) == ("new", True)


@pytest.mark.parametrize("code", ["EACCES", "ESTALE", "EIO", "ENOENT", "EMFILE", "ENFILE", "ELOOP", "ETIMEDOUT"])
def test_a_fault_of_a_moment_loses_no_change(file, path, monkeypatch, code):
    """Whatever the fault, and whether the change came before it, during it or after it."""
    number = getattr(errno, code)
    path.write_text("before")
    with failing(monkeypatch, number):
        assert looked(file) == ("old", False)
    assert looked(file) == ("before", True)
    with failing(monkeypatch, number):
        assert looked(file) == ("before", False)
        path.write_text("during")
    assert looked(file) == ("during", True)
    with failing(monkeypatch, number):
        assert looked(file) == ("during", False)
    path.write_text("after")
    assert looked(file) == ("after", True)


def test_time_size_and_inode_may_be_as_before(file, path):
    """In place, or put in its place, with the same time: the contents count."""
    status = path.stat()
    path.write_text("new")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino) == (
        status.st_mtime_ns, status.st_size, status.st_ino,
    )  # fmt: skip
    assert looked(file) == ("new", True)
    other = path.with_name("other")
    other.write_text("two")
    os.utime(other, ns=(status.st_atime_ns, 0))
    other.replace(path)
    assert looked(file) == ("two", True)


def test_a_volume_of_kubernetes(tmp_path):
    """The file is a link through a link, `..data`, that is swapped."""
    for name in ("one", "two"):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "file").write_text(name)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "file").symlink_to("..data/file")
    file = ReloadingFile("x.file", {"x.file": tmp_path / "file"}, parse)
    for target in ("two", "one"):
        (tmp_path / "..new").symlink_to(f"..{target}")
        (tmp_path / "..new").replace(tmp_path / "..data")
        assert looked(file) == (target, True)
    (tmp_path / "..data").unlink()
    assert looked(file) == ("one", False)
    (tmp_path / "..data").symlink_to("..two")
    assert looked(file) == ("two", True)


def test_half_a_file_is_not_taken(file, path):
    """Only what two looks in a row have seen."""
    for written in ("n", "ne"):
        path.write_text(written)
        file.look()
        assert file.current == "old"
        assert file.state().failing_for is None
    path.write_text("new")
    assert looked(file) == ("new", True)


def test_a_file_that_never_rests_is_taken_all_the_same(file, path):
    """A token that was taken out of it must not live on."""
    for number in range(30):
        path.write_text(f"new {number}")
        file.look()
    assert file.current.startswith("new")


def test_removed_and_back(file, path):
    """With what it held before all is well at once; with something else, that is in force."""
    path.unlink()
    assert looked(file) == ("old", False)
    path.write_text("old")
    assert looked(file, 1) == ("old", True)
    path.unlink()
    assert looked(file) == ("old", False)
    path.write_text("new")
    assert looked(file) == ("new", True)


def test_a_typo_keeps_what_was_there_and_is_told(file, path, capsys):
    """For as long as it stands, and logged once; so is its end."""
    path.write_text("typo")
    assert looked(file, 5) == ("old", False)
    path.write_text("new")
    assert looked(file, 5) == ("new", True)
    said = capsys.readouterr()
    said = said.out + said.err
    assert (said.count("secrets_unusable"), said.count("secrets_reloaded")) == (1, 1)


@pytest.mark.parametrize("other", ["directory", "pipe", "nothing", "endless", "huge"])
def test_what_is_no_such_file_is_told_and_not_waited_for(file, path, other, tmp_path):
    """Whatever takes its place."""
    path.unlink()
    if other == "directory":
        path.mkdir()
    elif other == "pipe":
        os.mkfifo(path)
    elif other == "endless":
        path.symlink_to("/dev/zero")
    elif other == "huge":
        with path.open("wb") as sparse:
            sparse.truncate(2**40)
    assert looked(file) == ("old", False)
    good = tmp_path / "good"
    good.write_text("new")
    if other == "directory":
        path.rmdir()
    good.replace(path)
    assert looked(file) == ("new", True)


def test_a_bug_in_reading_does_not_end_the_following(path, monkeypatch):
    """Nor does contents that are wrong only for a moment: they are tried again."""
    faults = [ValueError("sesame"), ConfigError("x.file: cannot be opened now")]

    def flaky(contents):
        if contents["x.file"] == b"new" and faults:
            raise faults.pop()
        return contents["x.file"].decode()

    file = ReloadingFile("x.file", {"x.file": path}, flaky)
    path.write_text("new")
    assert looked(file, 9) == ("old", False)
    monkeypatch.setattr(reloading_file, "_WRONG_AGAIN", 0.0)
    assert looked(file, 1) == ("old", False)
    assert looked(file, 1) == ("new", True)


def test_files_that_belong_together_change_together(tmp_path):
    """No byte moves from one to the next unseen."""
    paths = {name: tmp_path / name for name in "ab"}
    paths["a"].write_text("12")
    paths["b"].write_text("3")
    file = ReloadingFile("x", paths, lambda c: (c["a"], c["b"]), settle=False)
    paths["a"].write_text("1")
    paths["b"].write_text("23")
    assert looked(file, 1) == ((b"1", b"23"), True)


def test_a_pipe_is_read_once(tmp_path):
    """As the shell's <(...) is: there is nothing to follow."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("once",))
    writer.start()
    file = ReloadingFile("x.file", {"x.file": pipe}, parse)
    writer.join()
    assert not file.followed
    assert looked(file) == ("once", True)


def test_a_volume_that_hangs_is_told_and_holds_up_no_other_file(tmp_path, path, wait_until, monkeypatch):
    """Its look does not end; the other's do, and so does the watch."""
    monkeypatch.setattr(reloading_file, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(reloading_file, "_HUNG", 0.1)
    go_on = threading.Event()

    def hang(contents):
        if contents["x.file"] == b"hang":
            go_on.wait(60)
        return contents["x.file"].decode()

    other = tmp_path / "other"
    other.write_text("old")
    files, watch = [ReloadingFile(f"{p.name}", {"x.file": p}, hang) for p in (path, other)], FileWatch()
    for file in files:
        watch.add(file)
    watch.add(None)
    path.write_text("hang")
    wait_until(lambda: watch.failing() == ["file"])
    other.write_text("new")
    wait_until(lambda: files[1].current == "new")
    files[0].look()  # does not wait
    go_on.set()
    wait_until(lambda: watch.failing() == [])
    assert files[0].current == "hang"
    watch.close()
