"""What a daemon learned, folded into a ranker of its own by `rankd bake`, against the daemon itself."""

import asyncio
import random
from dataclasses import fields, replace

import numpy as np
import pytest
from rankd_client import AdminClient, Completed, Item, LearnedHead, LearnedQuality, RankClient, RankdRefusedError
from rankd_client.shape import RequestShape
from support.daemon import Daemon

from rankd.adaptation import FeatureHasher, TextHead
from rankd.adaptation.features import BUCKETS
from rankd.adaptation.folding import FoldedHead
from rankd.cli import main
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.bake import BakePlan
from rankd.training.export.bake import bake as bake_ranker

TOPICS = {
    "poem": 40, "proof": 900, "recipe": 300, "haiku": 12, "essay": 1500, "joke": 60, "summary": 150, "translation": 90,
    "tutorial": 1200, "definition": 30,
}  # fmt: skip
"""Mean length of an answer by what is asked for: nothing that the ranker knows."""
ABOUT = ("the sea", "my old car", "prime numbers", "a cat in the rain", "onions", "winter in Oslo", "two brothers")


def asked(rng):
    """A prompt and the length of its answer."""
    topic = rng.choice(list(TOPICS))
    prompt = f"Please give me a {topic} about {rng.choice(ABOUT)}, number {rng.randrange(10_000)}."
    return prompt, max(1, round(TOPICS[topic] * rng.lognormvariate(0, 0.3)))


def serve_traffic(client, count, rng):
    """Rank and report so many requests of one model and two tenants, in queues of twenty."""
    for _ in range(0, count, 20):
        drawn = [asked(rng) for _ in range(20)]
        shape = RequestShape(messages=2, last_role="user")
        queue = client.rank(
            [Item(p, request_id=f"{rng.random()}", tenant=rng.choice("ab"), shape=shape) for p, _ in drawn]
        )
        assert not queue.failed, client.stats.last_error
        done = [Completed(r.request_id, r.prediction, output_tokens=drawn[r.index][1]) for r in queue]
        assert client.report(done).accepted == 20


def window_of(daemon):
    """What the daemon knows of the traffic."""
    ranker = daemon.app.registry.in_service.version
    return daemon.call(daemon.app.monitor.own_or_base, "served", ranker)


def learned_all(daemon):
    """Wait until what is due was learned, so that nothing changes any more."""
    window, flights = window_of(daemon), daemon.app.monitor.jobs.adaptations

    async def ended():
        while (flight := flights.flight(window)) is not None:
            await asyncio.wait([flight])

    daemon.run(ended())


@pytest.fixture(scope="module")
def daemon():
    """A daemon with the n-gram ranker, on which learned scores are in use."""
    started = Daemon(ranker=ranker_path("ngram"))
    rng = random.Random(1)
    with RankClient(started.target, model="served", timeout=30) as client:
        for _ in range(200):
            serve_traffic(client, 20, rng)
            if window_of(started).learned_in_use:
                break
    assert window_of(started).learned_in_use
    learned_all(started)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def baked(daemon, tmp_path_factory):
    """What `rankd bake` wrote of it."""
    out = tmp_path_factory.mktemp("baked") / "mine"
    assert bake(daemon, out, "--model", "served", "--name", "mine", "--version", "2") == 0
    return out


def bake(daemon, out, *flags):
    """Run `rankd bake` in this process; its exit status."""
    return main(["bake", str(out), "--admin", daemon.admin_target, *flags])


def learned_scores(daemon, prompts, tenant):
    """What the daemon says of prompts that it has not seen, as one tenant's."""
    shape = RequestShape(messages=2, last_role="user")
    with RankClient(daemon.target, model="served", timeout=30) as client:
        queue = client.rank(
            [Item(p, request_id=f"{tenant}-{i}", tenant=tenant, shape=shape) for i, p in enumerate(prompts)]
        )
    found = {r.index: r.prediction for r in queue}
    assert all(found[i].HasField("learned_score") for i in range(len(prompts)))
    return np.array([found[i].learned_score for i in range(len(prompts))])


PROMPTS = [
    "Please give me a poem about the sea.", "A proof about prime numbers", "essay " * 300, "joke", "",
    "Wie spät ist es? \N{SMILING FACE WITH SUNGLASSES}", " ".join(f"word{i}" for i in range(200)), "haiku haiku haiku",
]  # fmt: skip


def test_a_baked_ranker_scores_as_its_daemon_learned(daemon, baked):
    """Its scores are the daemon's learned ones, but for one constant: what a tenant adds, less what they all do."""
    own = OfflineRanker(load_artifact(baked)).alone(PROMPTS)
    apart = learned_scores(daemon, PROMPTS, "a") - own, learned_scores(daemon, PROMPTS, "b") - own
    for difference in apart:
        constant = difference[np.argmax(np.abs(difference))]
        # Less of it beyond the lengths that were learned from, where scores are drawn in.
        assert np.count_nonzero(np.abs(difference - constant) < 1e-3) >= 4
        assert (np.sign(constant) * difference > -1e-3).all()
        assert (np.abs(difference) < abs(constant) + 1e-3).all()
    assert abs(float(np.mean(apart))) < 0.1
    assert np.ptp(own) > 1


def test_its_manifest_and_card_say_what_it_is(daemon, baked):
    """A version of its own, tau as the daemon measured it, data and licence carried over, features to learn on."""
    old, new = load_artifact(ranker_path("ngram")).manifest, load_artifact(baked).manifest
    with AdminClient(daemon.admin_target) as admin:
        learned = admin.learned("served")
    assert (new.name, new.version) == ("mine", "2")
    assert new.measured_tau == pytest.approx(learned.quality.learned_tau.value, abs=1e-4)
    assert learned.quality.difference.low > 0
    assert new.data[:-1] == old.data
    learned_from, *kept = new.trained_rows.sources
    assert (learned_from.by, learned_from.model, learned_from.rows) == ("time", "served", new.data[-1].rows)
    assert tuple(kept) == old.trained_rows.sources
    assert new.trained_rows.complete
    assert (new.licence, new.truncation, new.features_output) == (old.licence, old.truncation, old.features_output)
    assert new.calibration.knots
    (measured,) = new.measurements
    assert (measured.model, measured.trained_on) == ("served", False)
    card = (baked / "README.md").read_text(encoding="utf-8")
    assert "ngram@1.0.0" in card
    assert "before it was learned from" in card
    assert sorted(p.name for p in baked.iterdir()) == ["README.md", "manifest.json", "model.onnx", "tokenizer.json"]


def test_a_baked_ranker_is_promoted_learns_on_and_is_baked_again(baked, start_daemon, tmp_path):
    """A daemon serves it, learns beside it, and what it learned is folded into a second one."""
    other = start_daemon(ranker=baked)
    with RankClient(other.target, model="served", timeout=30) as client:
        serve_traffic(client, 200, random.Random(5))
    learned_all(other)
    assert bake(other, tmp_path / "again", "--model", "served", "--anyway") == 0
    again = load_artifact(tmp_path / "again")
    assert again.manifest.name == "mine"
    assert again.manifest.version.startswith("2+learned-")
    prompts = [p for p, _ in (asked(random.Random(i)) for i in range(20))]
    first, second = (OfflineRanker(load_artifact(d)).alone(prompts) for d in (baked, tmp_path / "again"))
    assert np.corrcoef(first, second)[0, 1] > 0.9


def test_what_cannot_be_baked_leaves_nothing_behind(daemon, baked, start_daemon, tmp_path, capsys):
    """A directory that is there, another ranker's directory, a model without completions, what is not in use."""
    assert bake(daemon, baked, "--model", "served") == 2
    assert "there already" in capsys.readouterr().err
    other = tmp_path / "other"
    assert bake(daemon, tmp_path / "new", "--model", "served", "--ranker", str(ranker_path("minilm-l6"))) == 2
    assert "--ranker" in capsys.readouterr().err
    assert bake(daemon, other, "--model", "nobody") == 2
    assert "no completion" in capsys.readouterr().err
    fresh = start_daemon(ranker=ranker_path("ngram"))
    with RankClient(fresh.target, model="served", timeout=30) as client:
        serve_traffic(client, 20, random.Random(2))
        assert bake(fresh, other, "--model", "served") == 2
        assert "nothing was learned" in capsys.readouterr().err
        serve_traffic(client, 60, random.Random(3))
        learned_all(fresh)
    assert bake(fresh, other, "--model", "served") == 3
    assert "--anyway" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_forgetting_begins_anew(start_daemon):
    """After ForgetLearned the ranker's own scores order, and nothing is left of what was learned."""
    daemon = start_daemon(ranker=ranker_path("ngram"))
    with RankClient(daemon.target, model="served", timeout=30) as client, AdminClient(daemon.admin_target) as admin:
        serve_traffic(client, 200, random.Random(4))
        learned_all(daemon)
        assert admin.learned("served").quality.completions > 0
        admin.forget_learned("served")
        assert not window_of(daemon).learned_in_use
        with pytest.raises(RankdRefusedError, match="nothing was learned"):
            admin.learned("served")
        with pytest.raises(RankdRefusedError, match="no completion"):
            admin.forget_learned("nobody")


def test_a_daemon_that_learns_nothing_says_so(start_daemon):
    """With adapt.enabled false both calls are refused, with the setting's name."""
    daemon = start_daemon(adapt={"enabled": False})
    with AdminClient(daemon.admin_target) as admin, pytest.raises(RankdRefusedError, match=r"adapt\.enabled"):
        admin.learned()


def test_both_graphs_of_an_encoder_are_baked(tmp_path):
    """What was learned stands behind each: where the first graphs order alike, so do the new ones."""
    base = ranker_path("minilm-l6")
    manifest = load_artifact(base).manifest
    version = f"{manifest.name}@{manifest.version}"
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal(n).astype(np.float32) * s for n, s in ((384, 0.5), (BUCKETS, 0.1)))
    head = FoldedHead.of(TextHead(4.2, 0.7, *weights), FeatureHasher(b"key", version))
    quality = LearnedQuality("in_use", **dict.fromkeys(f.name for f in fields(LearnedQuality) if f.name != "state"))
    learned = LearnedHead(version, str(base), head.pack(), replace(quality, completions=300), None)
    baked = bake_ranker(base, learned, tmp_path / "both", BakePlan("both", "1", "served"))
    artifact = load_artifact(baked.path)
    assert artifact.manifest.cuda == manifest.cuda
    cpu, cuda = (OfflineRanker(artifact, graph=p).scores(PROMPTS) for p in ("cpu", "cuda"))
    assert np.corrcoef(cpu, cuda)[0, 1] > 0.98
    assert np.corrcoef(cpu, OfflineRanker(load_artifact(base)).scores(PROMPTS))[0, 1] < 0.98
    assert "model.cuda.onnx" in (baked.path / "README.md").read_text(encoding="utf-8")
