"""A ranker that hangs, grows or crashes ends its own process; the daemon answers, loads others and stops."""

import gc
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import grpc
import psutil
import pytest
from rankd_client.v1 import admin_pb2, prediction_pb2
from support import hostile_rankers
from support.ranker_start import with_second_graph
from support.tiny_ranker import make_artifact
from support.wire import admin_stub, details, item, rank_stub, request

from rankd.types import Scored

CHILDREN = ("rankd.registry.trial_process", "rankd.scoring.tokeniser_process")


def children(of=None):
    """Processes that rankers were given."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        try:
            found += [child for name in child.cmdline() if name in CHILDREN]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def load(channel, name, *, wait=True):
    call = admin_stub(channel).LoadRanker.future(admin_pb2.LoadRankerRequest(path=name), timeout=120)
    return call.result() if wait else call


def reason_of(prompt, daemon):
    """Why a prompt has no score; None where it has one."""
    with daemon.channel() as channel:
        answer = rank_stub(channel).Rank(request(item("a", prompt)), timeout=60)
    return answer.items[0].reason if answer.unscored_count else None


@pytest.fixture
def registry(tmp_path):
    path = tmp_path / "registry"
    path.mkdir()
    return path


def test_an_endless_graph_holds_nobody_up(start_daemon, registry, wait_until):
    """While it is on trial others are loaded and calls are answered; it is refused once its processor time is over."""
    hostile_rankers.endless(registry / "endless", name="endless")
    make_artifact(registry / "good", name="good")
    daemon = start_daemon(registry=registry)
    with daemon.channel(daemon.admin_target) as channel:
        hangs = load(channel, "endless", wait=False)
        wait_until(children)
        assert load(channel, "good").ranker.ranker_version == "good@1.0.0"
        assert reason_of("long", daemon) is None
        assert not hangs.done()
        (child,) = children()
        child.send_signal(signal.SIGXCPU)  # as the kernel does when that is over
        with pytest.raises(grpc.RpcError, match="RANKD_SCORING__LOAD_SECONDS") as raised:
            hangs.result()
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not children()


def test_an_endless_graph_is_refused_in_time(start_daemon, registry):
    """The message says which setting is asked for, and its process is gone."""
    hostile_rankers.endless(registry / "endless", name="endless")
    daemon = start_daemon(registry=registry, scoring={"load_seconds": 3.0})
    with daemon.channel(daemon.admin_target) as channel:
        with pytest.raises(grpc.RpcError, match="RANKD_SCORING__LOAD_SECONDS") as raised:
            load(channel, "endless")
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not children()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: hostile_rankers.huge(p, 2**34, name="x"), "RANKD_SCORING__LOAD_MEMORY"),
        (lambda p: hostile_rankers.expanding(p, 10**5, name="x"), "RANKD_SCORING__LOAD_MEMORY"),
        (lambda p: hostile_rankers.foreign(p, domain="evil", operator="Run", name="x"), "evil:Run"),
        (lambda p: hostile_rankers.foreign(p, version=999, name="x"), "model.onnx cannot be loaded"),
        (lambda p: hostile_rankers.with_tokenizer(p, hostile_rankers.growing_tokenizer("e"), name="x"), "LOAD_MEMORY"),
        (lambda p: hostile_rankers.with_tokenizer(p, hostile_rankers.repeating_tokenizer(10**6), name="x"), "MEMORY"),
        (lambda p: hostile_rankers.external(p, name="x"), "weights.bin"),
        (lambda p: hostile_rankers.external(p, "../../../etc/passwd", name="x"), "etc/passwd"),
        (
            lambda p: with_second_graph(make_artifact(p, name="x"), hostile_rankers.external(p.parent / "y", name="y")),
            r"x/model.cuda.onnx.*weights.bin",
        ),
    ],
    ids=[
        "huge constant",
        "expanding",
        "foreign operator",
        "foreign version",
        "growing text",
        "repeated text",
        "external data",
        "path traversal",
        "external data for CUDA",
    ],
)
def test_what_does_not_pass_its_trial(start_daemon, registry, make, said):
    """The message says what it was and which setting is asked for; the daemon serves on."""
    make(registry / "x")
    daemon = start_daemon(registry=registry, scoring={"load_memory": 2**29})
    with daemon.channel(daemon.admin_target) as channel, pytest.raises(grpc.RpcError, match=said) as raised:
        load(channel, "x")
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(raised.value)["ErrorInfo"].reason == "RANKER_UNUSABLE"
    assert reason_of("long", daemon) is None
    assert not children()


def test_functions_that_explode_are_not_waited_for(start_daemon, registry):
    """Ten thousand million nodes out of a hundred: that takes time before anything runs."""
    hostile_rankers.exploding(registry / "x", name="x")
    daemon = start_daemon(registry=registry, scoring={"load_seconds": 4.0})
    with (
        daemon.channel(daemon.admin_target) as channel,
        pytest.raises(grpc.RpcError, match="RANKD_SCORING__LOAD_SECONDS"),
    ):
        load(channel, "x")
    assert not children()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: hostile_rankers.endless(p, "w7"),
        lambda p: hostile_rankers.hungry(p, "w7", 2**36),
        lambda p: hostile_rankers.with_tokenizer(p, hostile_rankers.growing_tokenizer("w7")),
    ],
    ids=["endless", "hungry", "growing"],
)
def test_a_fault_for_one_prompt_only(start_daemon, tmp_path, make, wait_until):
    """What no trial can foresee fails that prompt, which is said; the next one has its score."""
    daemon = start_daemon(ranker=make(tmp_path / "r"), scoring={"max_batch_seconds": 1.0, "load_memory": 2**29})
    assert reason_of("long w1", daemon) is None
    assert reason_of("long w7", daemon) == prediction_pb2.FALLBACK_REASON_RANKER_UNAVAILABLE
    wait_until(lambda: reason_of("long w2", daemon) is None)


def test_a_large_vocabulary_is_read_in_a_process_of_its_own(start_daemon, registry, wait_until):
    """Its tokeniser scores as any other, and its process ends when it is unloaded."""
    words = [f"v{i}" for i in range(100_000)]
    hostile_rankers.with_tokenizer(registry / "vocab", hostile_rankers.plain_tokenizer(words), name="vocab")
    daemon = start_daemon(registry=registry)
    with daemon.channel(daemon.admin_target) as channel:
        load(channel, "vocab")
        (process,) = children()
        ranker = daemon.app.registry.named("vocab@1.0.0")
        found = daemon.run(ranker.scorer.score(["long long", "short", ""], daemon.loop.time() + 60))
        assert [f.score for f in found] == pytest.approx([2.02, -0.99, 0.01], abs=1e-5)
        process.kill()
        wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        ranker = daemon.app.registry.named("vocab@1.0.0")

        def again():
            (found,) = daemon.run(ranker.scorer.score(["long short long"], daemon.loop.time() + 60))
            return isinstance(found, Scored) and found.score == pytest.approx(1.03, abs=1e-5)

        wait_until(again)
        admin_stub(channel).UnloadRanker(admin_pb2.UnloadRankerRequest(ranker_version="vocab@1.0.0"), timeout=30)
    wait_until(lambda: not children())


def test_a_graph_for_cuda_does_not_run_on_a_cpu(start_daemon, registry):
    """One that never ends is there, is hashed and looked through, and is not what is loaded: nobody waits for it."""
    endless = hostile_rankers.endless(registry / "endless", name="endless")
    with_second_graph(make_artifact(registry / "x", name="x"), endless)
    daemon = start_daemon(registry=registry)
    with daemon.channel(daemon.admin_target) as channel:
        assert load(channel, "x").ranker.ranker_version == "x@1.0.0"
    ranker = daemon.app.registry.named("x@1.0.0")
    (found,) = daemon.run(ranker.scorer.score(["long long"], daemon.loop.time() + 60))
    assert found.score == pytest.approx(2.04, abs=1e-5)


def test_a_second_load_of_the_same_bytes_is_the_first(start_daemon, registry):
    """Two calls at once load one ranker; another one under its name and version is refused."""
    make_artifact(registry / "a", name="twin")
    make_artifact(registry / "b", name="twin")
    make_artifact(registry / "c", name="twin", scale=3.0)
    daemon = start_daemon(registry=registry)
    with daemon.channel(daemon.admin_target) as channel:
        calls = [load(channel, name, wait=False) for name in ("a", "b", "a")]
        assert {call.result().ranker.ranker_version for call in calls} == {"twin@1.0.0"}
        with pytest.raises(grpc.RpcError, match=r"another twin@1\.0\.0 is loaded already"):
            load(channel, "c")
    assert len(daemon.app.registry.all()) == 2


def test_sigterm_ends_a_daemon_that_loads(start_process, registry, wait_until):
    """The load is told to come back; nothing waits for it, and its process is gone."""
    hostile_rankers.endless(registry / "endless", name="endless")
    process = start_process(environment={"RANKD_REGISTRY": str(registry)})
    with grpc.insecure_channel(process.admin_target) as channel:
        hangs = load(channel, "endless", wait=False)
        wait_until(lambda: children(process.process.pid))
        (child,) = children(process.process.pid)
        assert process.terminate() == 0
        assert hangs.code() is grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: not child.is_running())
    assert '"event": "stopped"' in process.lines[-1]


def test_a_daemon_that_is_killed_leaves_no_process_behind(start_process, registry, wait_until):
    """What is on trial goes with it, though nobody tells it."""
    hostile_rankers.endless(registry / "endless", name="endless")
    process = start_process(environment={"RANKD_REGISTRY": str(registry)})
    with grpc.insecure_channel(process.admin_target) as channel:
        hangs = load(channel, "endless", wait=False)
        wait_until(lambda: children(process.process.pid))
        (child,) = children(process.process.pid)
        process.kill()
        assert hangs.code() is grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: not child.is_running())


def test_sigterm_ends_a_daemon_whose_model_never_ends(start_process, tmp_path, wait_until):
    """A batch that runs for ever does not outlive the time that its callers are given to end."""
    ranker = hostile_rankers.endless(tmp_path / "r", "w7")
    settings = {"RANKD_SCORING__MAX_BATCH_SECONDS": "1e6", "RANKD_DRAIN_TIMEOUT": "1"}
    process = start_process(ranker, environment=settings)
    with grpc.insecure_channel(process.target) as channel:
        hangs = rank_stub(channel).Rank.future(request(item("a", "long w7")), timeout=120)
        wait_until(lambda: not queue_is_empty(process))
        assert process.terminate(60) == 0
        assert hangs.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def metrics(process):
    with urlopen(process.http.rstrip("/") + "/metrics", timeout=30) as answer:
        return answer.read()


def queue_is_empty(process):
    lines = [line for line in metrics(process).splitlines() if line.startswith(b"rankd_queue_prompts{")]
    return all(float(line.split()[-1]) == 0 for line in lines)


def started(ranker, **environment):
    command = [sys.executable, "-m", "rankd", "serve", "--listen", "127.0.0.1:0", "--metrics", "", "--admin", ""]
    return subprocess.Popen(
        [*command, "--provider", "cpu", "--ranker", str(ranker)],
        stderr=subprocess.PIPE,
        text=True,
        env={**psutil.Process().environ(), **environment},
    )


def test_a_start_with_an_endless_ranker_is_an_error(tmp_path):
    """The daemon does not start and says why."""
    ranker = hostile_rankers.endless(tmp_path / "r")
    with started(ranker, RANKD_SCORING__LOAD_SECONDS="3") as process:
        said = process.stderr.read()
    assert process.returncode == 2
    assert "RANKD_SCORING__LOAD_SECONDS" in said


def test_sigterm_ends_a_start_that_hangs(tmp_path, wait_until):
    """Nobody has to wait for a ranker that is not loaded yet."""
    with started(hostile_rankers.endless(tmp_path / "r")) as process:
        wait_until(lambda: children(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_thread_that_never_ends_does_not_keep_a_stopped_daemon():
    """What no flag interrupts is left where it is: the process ends with its status."""
    code = (
        "import sys, threading; from rankd.cli import serve; "
        "threading.Thread(target=threading.Event().wait).start(); sys.exit(serve._ended(3))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 3


def test_a_trial_is_given_no_secrets(start_process, registry, wait_until):
    """Neither variables that rankd was told, nor those of its surroundings, nor a socket."""
    hostile_rankers.endless(registry / "endless", name="endless")
    secrets = {
        "RANKD_REGISTRY": str(registry),
        "AWS_SECRET_ACCESS_KEY": "sesame",
        "OTEL_EXPORTER_OTLP_HEADERS": "sesame",
    }
    process = start_process(environment=secrets)
    with grpc.insecure_channel(process.admin_target) as channel:
        hangs = load(channel, "endless", wait=False)
        wait_until(lambda: children(process.process.pid))
        (child,) = children(process.process.pid)
        assert "sesame" not in str(child.environ())
        assert not [name for name in child.environ() if name.startswith(("RANKD_", "OTEL_", "AWS_"))]
        assert child.net_connections() == []
        hangs.cancel()
    wait_until(lambda: not children(process.process.pid))


def models_in_memory():
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, by a thread of somebody else
            names.append(str(link.readlink()))
    return [name for name in names if "memfd:model." in name]


def test_a_model_is_in_memory_once(start_daemon, registry):
    """Once it is loaded, the bytes that were read and hashed are given back: they are as many as its weights."""
    with_second_graph(make_artifact(registry / "x", name="x"), make_artifact(registry / "y"))
    gc.collect()
    before = len(models_in_memory())
    daemon = start_daemon(registry=registry)
    with daemon.channel(daemon.admin_target) as channel:
        assert load(channel, "x").ranker.ranker_version
    assert len(models_in_memory()) == before
    assert reason_of("long", daemon) is None
