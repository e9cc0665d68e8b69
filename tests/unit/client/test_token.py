"""A client's token out of a file that changes."""

import os
import threading

import pytest
from rankd_client import _token
from rankd_client._token import Token


@pytest.fixture(autouse=True)
def at_every_call(monkeypatch):
    """The file is looked at with every call."""
    monkeypatch.setattr(_token, "_LOOK_EVERY", 0.0)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "token"
    path.write_text("old\n")
    return path


@pytest.fixture
def token(path):
    return Token(None, path, target="localhost:1", tls=None, plaintext=False)


def shown(token):
    ((key, value),) = token.metadata()
    assert key == "authorization"
    return value.removeprefix("Bearer ")


def test_time_size_and_inode_may_be_as_before(token, path):
    """What the file holds counts."""
    status = path.stat()
    path.write_text("new\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert shown(token) == "new"


@pytest.mark.parametrize("fault", ["gone", "directory", "empty", "bytes", "two", "pipe"])
def test_a_file_that_cannot_be_used_keeps_the_last_token(token, path, fault):
    """And the file is read again, with the same time if need be, as soon as it can be."""
    status = path.stat()
    contents = {"empty": b"", "bytes": b"\xff\xfe", "two": b"two tokens"}.get(fault)
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
    elif fault == "directory":
        path.mkdir()
    elif fault == "pipe":
        os.mkfifo(path)
    assert [shown(token), shown(token)] == ["old", "old"]
    path.rmdir() if fault == "directory" else path.unlink(missing_ok=True)
    path.write_text("new\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert shown(token) == "new"


def test_a_link_that_is_swapped_is_followed(token, path, tmp_path):
    """As in a volume of Kubernetes."""
    (tmp_path / "two").write_text("new")
    (tmp_path / "link").symlink_to("two")
    (tmp_path / "link").replace(path)
    assert shown(token) == "new"


def test_a_token_from_a_pipe_is_kept(tmp_path):
    """As from the shell's <(...): there is nothing to read again, and nobody waits for more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("once",))
    writer.start()
    token = Token(None, pipe, target="localhost:1", tls=None, plaintext=False)
    writer.join()
    assert [shown(token), shown(token)] == ["once", "once"]
