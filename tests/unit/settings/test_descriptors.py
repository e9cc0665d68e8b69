"""How many connections the process's open files allow."""

import pytest

from rankd.settings import descriptors, grpc_connections, http_connections, load_settings


@pytest.mark.parametrize(
    ("files", "http", "public", "admin"),
    [(64, 8, 12, 4), (256, 32, 138, 46), (1024, 128, 576, 192), (2**20, 128, 1536, 512), (16, 4, 6, 2)],
)
def test_listeners_leave_files_for_everything_else(monkeypatch, files, http, public, admin):
    """Together they never take all, but where there are next to none."""
    monkeypatch.setattr(descriptors, "open_files", lambda: files)
    settings = load_settings()
    counts = http_connections(settings), *(grpc_connections(settings, admin=a) for a in (False, True))
    assert counts == (http, public, admin)
    assert files < 64 or sum(counts) <= files - 40


def test_a_setting_goes_before(monkeypatch):
    """Where there are files for so many."""
    settings = load_settings(limits={"max_connections": 1000}, http={"max_connections": 1000})
    monkeypatch.setattr(descriptors, "open_files", lambda: 64)
    assert (grpc_connections(settings, admin=False), http_connections(settings)) == (12, 8)
    monkeypatch.setattr(descriptors, "open_files", lambda: 2**20)
    assert (grpc_connections(settings, admin=False), http_connections(settings)) == (750, 1000)


def test_the_limit_is_the_process_s():
    """As ``ulimit -n`` has it."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors.open_files() == (min(soft, 2**20) if soft > 0 else 2**20)
