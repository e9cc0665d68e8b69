"""What was promoted outlives restarts and kill -9, and a rollback goes back by the registry's history."""

import json
import os
import shutil
import signal
import sys

import pytest
from rankd_client import AdminClient, RankClient, RankdRefusedError, RankdUnavailableError
from support import killed_daemon
from support.credentials import TOKENS, write_tokens
from support.killed_daemon import POINTS
from support.tiny_ranker import make_artifact

from rankd.cli import main
from rankd.registry.history import HISTORY, SERVING, ServiceHistory
from rankd.status.service_parts import service_of


@pytest.fixture
def registry(tmp_path):
    """A registry with the rankers a, b and c."""
    root = tmp_path / "registry"
    root.mkdir()
    for name in "abc":
        make_artifact(root / name, name=name)
    return root


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A tiny ranker in the place of the bundled one: a start without a ranker is quick."""
    directory = make_artifact(tmp_path / "bundled" / "minilm-l6", name="bundled")
    for module in ("bundled", "first_ranker", "shelf"):
        monkeypatch.setattr(f"rankd.registry.{module}.default_ranker_path", lambda: directory)
    return directory


def promote(admin, *names):
    """Load and promote one after the other."""
    for name in names:
        admin.load(name)
        admin.promote(f"{name}@1.0.0")


def serving(admin):
    """The version in service."""
    return admin.rankers().rankers[0].ranker_version


def test_a_rollback_goes_further_back_each_time(start_daemon, registry, bundled):
    """By the history, to what is not loaded any more too; then there is nothing before. `--to` leads anywhere."""
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, timeout=30) as client:
        promote(admin, "a", "b", "c")
        assert len(admin.rankers().rankers) == 2
        assert admin.roll_back().ranker_version == "b@1.0.0"
        assert admin.roll_back().ranker_version == "a@1.0.0"
        assert admin.rankers().rollback_to == "bundled@1.0.0"
        assert admin.roll_back().ranker_version == "bundled@1.0.0"
        assert client.rank(["long", "short"]).ranker_version == "bundled@1.0.0"
        assert not (registry / SERVING).is_symlink()
        with pytest.raises(RankdRefusedError, match="none was in service before"):
            admin.roll_back()
        assert admin.roll_back("c@1.0.0").ranker_version == "c@1.0.0"
        with pytest.raises(RankdRefusedError, match="in service already"):
            admin.roll_back("c@1.0.0")
        with pytest.raises(RankdRefusedError, match=r"no ranker x@1.*there: a@1.0.0, b@1.0.0, c@1.0.0"):
            admin.roll_back("x@1")
        assert admin.rankers().rollback_to == "bundled@1.0.0"
        assert len(admin.rankers().rankers) <= 4
        kinds = [s.kind for s in admin.rankers().history]
    assert kinds == ["promoted"] * 3 + ["rolled_back"] * 4
    del bundled


def test_a_start_serves_what_was_promoted_last(start_daemon, registry, bundled, wait_until):
    """Where no ranker is set. One that is set goes before it, which status says; with `follow` off nothing is
    followed. A rollback is followed too.
    """
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target) as client:
        assert client.quality().service.ranker_choice == "bundled"
        promote(admin, "a", "b")
        assert str((registry / SERVING).readlink()) == "b"
    daemon.stop()
    again = start_daemon(ranker=None, registry=registry)
    with AdminClient(again.admin_target) as admin, RankClient(again.target) as client:
        service = client.quality().service
        assert (service.ranker_version, service.ranker_choice, service.promoted) == ("b@1.0.0", "promoted", "b@1.0.0")
        assert admin.roll_back().ranker_version == "a@1.0.0"
        other = start_daemon(registry=registry, ranker=str(bundled))
        with RankClient(other.target) as explicit:
            service = explicit.quality().service
            assert (service.ranker_version, service.ranker_choice) == ("bundled@1.0.0", "setting")
            assert service.promoted == "a@1.0.0"
        admin.load("c")
        admin.promote("c@1.0.0")
        # The other replica looks, and says that it does not serve what the registry has.
        wait_until(lambda: other.app.history.last.ranker_version == "c@1.0.0", what="the other's step")
        assert not service_of(other.app.history, "bundled@1.0.0")["follows_promotion"]
    off = start_daemon(ranker=None, registry=registry, promotion={"follow": False})
    with AdminClient(off.admin_target) as admin:
        assert serving(admin) == "bundled@1.0.0"


def test_a_promoted_ranker_that_is_gone_keeps_no_daemon_from_starting(start_daemon, registry, bundled):
    """The one before it in the history serves, at last the bundled one; each is named. When it is back, it is served
    again.
    """
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        promote(admin, "a", "b", "c")
    daemon.stop()
    shutil.move(registry / "c", registry.parent / "c")
    shutil.rmtree(registry / "b")
    make_artifact(registry / "b", name="another")
    with_a = start_daemon(ranker=None, registry=registry)
    with RankClient(with_a.target) as client, AdminClient(with_a.admin_target) as admin:
        service = client.quality().service
        assert (service.ranker_version, service.ranker_choice, service.promoted) == (
            "a@1.0.0",
            "fallen_back",
            "c@1.0.0",
        )
        assert service.unusable_rankers == ("c@1.0.0", "b@1.0.0")
        assert [r.ranker_version for r in admin.rankers().rankers] == ["a@1.0.0"]
        with pytest.raises(RankdRefusedError, match=r"c@1.0.0 cannot be loaded any more.*bundled@1.0.0"):
            admin.roll_back("c@1.0.0")
    shutil.rmtree(registry / "a")
    with_none = start_daemon(ranker=None, registry=registry)
    with RankClient(with_none.target) as client:
        assert client.quality().service.ranker_version == "bundled@1.0.0"
    shutil.move(registry.parent / "c", registry / "c")
    with_c = start_daemon(ranker=None, registry=registry)
    with RankClient(with_c.target) as client:
        assert client.quality().service.ranker_version == "c@1.0.0"
    del bundled


@pytest.mark.parametrize("damage", ["directory", "garbage"])
def test_no_history_keeps_a_daemon_from_starting(start_daemon, registry, bundled, damage):
    """Whatever lies in its place; then the link is followed, as of a registry from before there was a history."""
    (registry / SERVING).symlink_to("b")
    if damage == "directory":
        (registry / HISTORY).mkdir()
    else:
        (registry / HISTORY).write_bytes(os.urandom(10_000) + b"\n")
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        assert serving(admin) == "b@1.0.0"
        assert bool(admin.rankers().history_trouble) == (damage == "directory")
    del bundled


def test_a_broken_link_is_no_promotion(start_daemon, registry, bundled):
    """Nor is one that leads nowhere."""
    (registry / SERVING).symlink_to("gone")
    daemon = start_daemon(ranker=None, registry=registry)
    with RankClient(daemon.target) as client:
        service = client.quality().service
        assert (service.ranker_version, service.unusable_rankers) == ("bundled@1.0.0", (SERVING,))
    del bundled


def test_a_step_that_cannot_be_written(start_daemon, registry, bundled):
    """A promotion is refused, and the one in service goes on; a rollback is done all the same, and the trouble told."""
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        promote(admin, "a")
        kept = (registry / HISTORY).read_bytes()
        (registry / HISTORY).unlink()
        (registry / HISTORY).mkdir()  # root may write to anything else
        admin.load("b")
        with pytest.raises(RankdRefusedError, match="cannot be written"):
            admin.promote("b@1.0.0")
        assert serving(admin) == "a@1.0.0"
        assert admin.roll_back().ranker_version == "bundled@1.0.0"
        assert HISTORY in admin.rankers().history_trouble
        (registry / HISTORY).rmdir()
        (registry / HISTORY).write_bytes(kept)
        promote(admin, "b")
        assert not admin.rankers().history_trouble
    assert [s.ranker_version for s in ServiceHistory(registry).recent()] == ["a@1.0.0", "bundled@1.0.0", "b@1.0.0"]
    del bundled


def test_a_ranker_set_by_hand_can_become_what_restarts_serve(start_daemon, registry, call):
    """`rankd promote` says how: it is in service, and the history says another one."""
    daemon = start_daemon(ranker=registry / "c", registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        promote(admin, "a")
    daemon.stop()
    again = start_daemon(ranker=registry / "c", registry=registry)
    done = call("promote", registry / "c", "--admin", again.admin_target)
    assert done.returncode == 2
    assert "--force makes it say c@1.0.0" in done.stderr
    assert call("promote", registry / "c", "--admin", again.admin_target, "--force").returncode == 0
    assert ServiceHistory(registry).last.ranker_version == "c@1.0.0"
    assert str((registry / SERVING).readlink()) == "c"
    done = call("promote", registry / "c", "--admin", again.admin_target, "--force")
    assert done.returncode == 2


def test_two_replicas_share_a_registry(start_daemon, registry, bundled):
    """Each is promoted by itself; a rollback of each returns to what was before, whoever goes first."""
    one, other = (start_daemon(ranker=None, registry=registry) for _ in range(2))
    with AdminClient(one.admin_target) as first, AdminClient(other.admin_target) as second:
        for admin in (first, second):
            promote(admin, "a")
        for admin in (first, second):
            promote(admin, "b")
        for admin in (first, second):
            assert admin.roll_back().ranker_version == "a@1.0.0"
        for admin in (first, second):
            assert admin.roll_back().ranker_version == "bundled@1.0.0"
    del bundled


def test_who_promoted_what_on_which_evidence(start_daemon, registry, tmp_path, capsys):
    """By the names of the credentials, in the registry's history; the page's JSON has no names."""
    write_tokens(tmp_path / "auth.toml")
    (tmp_path / "token").write_text(TOKENS["admin"])
    daemon = start_daemon(registry=registry, auth={"file": tmp_path / "auth.toml"})
    with AdminClient(daemon.admin_target, token=TOKENS["admin"]) as admin:
        promote(admin, "a")
        told = admin.rankers().history[-1]
        assert (told.caller, told.forced, told.evidence) == ("admin", True, None)
        assert told.host
    capsys.readouterr()
    status = main(["rollback", "--admin", daemon.admin_target, "--token-file", str(tmp_path / "token"), "--json"])
    out = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert status == 0
    assert json.loads(out[-1])["in_service"] == "tiny@1.0.0"
    step = ServiceHistory(registry).last
    assert (step.by, step.kind.value, step.ranker_version) == ("admin", "rolled_back", "tiny@1.0.0")
    assert "admin" not in json.dumps(service_of(daemon.app.history, "tiny@1.0.0"))


@pytest.mark.parametrize("point", POINTS)
def test_a_promotion_survives_kill_9_at_any_point(start_process, start_daemon, registry, bundled, tmp_path, point):
    """A real daemon is killed in the middle of a promotion: the next start serves the ranker before or the new one, the
    one that the history says, and the history goes on.
    """
    armed = tmp_path / "armed"
    process = start_process(
        ranker=registry / "c",
        prefix=(sys.executable, killed_daemon.__file__, point, str(armed)),
        environment={"RANKD_REGISTRY": str(registry)},
    )
    with AdminClient(process.admin_target) as admin:
        promote(admin, "a")
        admin.load("b")
        armed.touch()
        with pytest.raises(RankdUnavailableError):
            admin.promote("b@1.0.0")
    assert process.ended() == -signal.SIGKILL
    expected = {"old": "a@1.0.0", "new": "b@1.0.0"}[POINTS[point]]
    daemon = start_daemon(ranker=None, registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        assert serving(admin) == expected
        assert admin.rankers().history[-1].ranker_version == expected
        assert str((registry / SERVING).readlink()) == expected[0]
        assert admin.rankers().rollback_to == {"old": "c@1.0.0", "new": "a@1.0.0"}[POINTS[point]]
    assert not ServiceHistory(registry).skipped
    del bundled
