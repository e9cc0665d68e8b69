"""A ranker is judged on completions that it was not made of, in a real daemon with a real completion log."""

import random
import threading

import pytest
from rankd_client import AdminClient, Completed, Item, JudgeOptions, RankClient
from support.ranker_start import rehash, with_trained_rows
from support.tiny_ranker import make_artifact

from rankd.cli import main
from rankd.registry.artifact import load_artifact
from rankd.training.data.row import Row
from rankd.training.export.trained_rows import with_traffic

MODEL = "served"
OPTIONS = JudgeOptions(min_completions=100)


def asked(rng):
    """A prompt like no other, and the length of its answer, of which `long` and `short` tell most."""
    longs, shorts = rng.randrange(4), rng.randrange(4)
    name = "".join(rng.choice("abcdefghij") for _ in range(12))
    return f"{name} {'long ' * longs}{'short ' * shorts}", max(1, 100 + 30 * (longs - shorts) + rng.randrange(20))


def traffic(client, prompts, prefix):
    """Rank and report requests, in queues of ten."""
    for start in range(0, len(prompts), 10):
        part = prompts[start : start + 10]
        queue = client.rank([Item(p, request_id=f"{prefix}-{start + i}") for i, (p, _) in enumerate(part)])
        assert not queue.failed, client.stats.last_error
        client.report([Completed(r.request_id, r.prediction, output_tokens=part[r.index][1]) for r in queue])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A daemon that serves a ranker which knows one word of two, and has 300 completions in its log."""
    pytest.importorskip("pyarrow")
    from support.daemon import Daemon

    place = tmp_path_factory.mktemp("served")
    (place / "registry").mkdir()
    daemon = Daemon(
        ranker=make_artifact(place / "served", name="served", long=0.0),
        registry=place / "registry",
        completion_log={"directory": str(place / "log"), "prompt_share": 1.0},
        guard={"enabled": False},
    )
    rng = random.Random(1)
    prompts = [asked(rng) for _ in range(300)]
    with RankClient(daemon.target, model=MODEL, timeout=30) as client:
        traffic(client, prompts, "old")
    yield daemon, place, [p for p, _ in prompts]
    daemon.stop()


def logged(daemon, wait_until, count=300):
    wait_until(lambda: len(daemon.app.log.recent(9999, None)) >= count, what="all completions logged")


def judged(daemon, name, options=OPTIONS):
    with AdminClient(daemon.admin_target) as admin:
        version = admin.load(name).ranker_version
        try:
            return admin.judge(version, options)
        finally:
            admin.unload(version)


def made(place, name, prompts=None, **more):
    """A candidate in the registry that says that it was made of these prompts."""
    ranker = make_artifact(place / "registry" / name, name=name, **more)
    if prompts is None:
        return ranker
    return with_trained_rows(ranker, [Row(p, 10, complete=True) for p in prompts])


def test_rows_that_it_was_made_of_do_not_judge_a_candidate(served, wait_until):
    """What is left is judged; where that is too little, the verdict says so, and says why."""
    daemon, place, prompts = served
    logged(daemon, wait_until)
    made(place, "half", prompts[:150])
    judgement = judged(daemon, "half")
    assert (judgement.completions, judgement.trained_completions, judgement.verdict) == (150, 150, "better")
    made(place, "all", prompts)
    judgement = judged(daemon, "all")
    assert (judgement.completions, judgement.excluded_completions) == (0, 300)
    assert (judgement.verdict, judgement.tries) == ("too_few_unseen_completions", 0)


def test_numbers_and_case_make_no_new_prompt(served, wait_until):
    """A near-duplicate is as good as seen."""
    daemon, place, prompts = served
    logged(daemon, wait_until)
    made(place, "near", [f"  {p.upper()}\n" for p in prompts[:200]])
    assert judged(daemon, "near").trained_completions == 200


def test_a_candidate_that_does_not_say_is_judged_on_what_came_later(served, wait_until):
    """Than its files; unless it is trusted, which is said."""
    daemon, place, _ = served
    logged(daemon, wait_until)
    made(place, "silent")
    judgement = judged(daemon, "silent")
    assert (judgement.undeclared_completions, judgement.verdict) == (300, "too_few_unseen_completions")
    judgement = judged(daemon, "silent", JudgeOptions(min_completions=100, trust_older_completions=True))
    assert (judgement.completions, judgement.older_completions, judgement.excluded_completions) == (300, 300, 0)


def test_baked_traffic_counts_by_its_time(served, wait_until):
    """Of its served model alone: no prompt of it is known."""
    daemon, place, _ = served
    logged(daemon, wait_until)
    times = [c.ended_at for c in daemon.app.log.recent(9999, None)]
    for name, model, left in (("baked", MODEL, 100), ("elsewhere", "another", 300)):
        rehash(made(place, name), trained_rows=with_traffic({"sources": []}, model, 9, times[199]))
        judgement = judged(daemon, name)
        assert judgement.completions == pytest.approx(left, abs=1)  # times of the log are whole microseconds
        assert judgement.learned_completions == 300 - judgement.completions


def test_every_further_candidate_is_held_to_more(served, wait_until):
    """On the same completions, in the open; judged again at once it is held to the same."""
    daemon, place, _ = served
    logged(daemon, wait_until)
    seen = []
    for i in range(3):
        made(place, f"try{i}", ["another prompt"], scale=1.0 + i)
        seen += [judged(daemon, f"try{i}"), judged(daemon, f"try{i}")]
    tries, levels = [j.tries for j in seen], [j.error_level for j in seen]
    assert tries == [t for i in range(3) for t in [tries[0] + i] * 2]
    assert levels == sorted(levels, reverse=True)
    assert all(j.strict_low < j.tau_difference.low for j in seen)
    assert all(j.verdict == "better" for j in seen)


def test_what_is_left_too_small_goes_to_the_shadow(served, wait_until, capsys):
    """With default flags: new completions judge it, and it gets in on these; `--no-shadow` refuses it."""
    daemon, place, prompts = served
    logged(daemon, wait_until)
    ranker = str(made(place, "trained", prompts))
    to_daemon = ["--admin", daemon.admin_target, "--min-completions", "100"]
    assert main(["promote", ranker, *to_daemon, "--no-shadow"]) == 3
    assert "300 with prompts that one of the two was trained or tuned on" in capsys.readouterr().out
    statuses = []
    promotion = threading.Thread(target=lambda: statuses.append(main(["promote", ranker, *to_daemon])))
    promotion.start()
    rng = random.Random(2)
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, model=MODEL, timeout=30) as client:
        wait_until(lambda: any(r.shadow for r in admin.rankers().rankers), what="a shadow")
        sent = 0
        while promotion.is_alive() and sent < 3000:
            traffic(client, [asked(rng) for _ in range(20)], f"new{sent}")
            sent += 20
            promotion.join(0.2)
        promotion.join(60)
        assert statuses == [0]
        said = capsys.readouterr()
        assert "It goes to the shadow" in said.err
        assert "evidence: shadow scores" in said.out
        assert load_artifact(place / "registry" / "trained").ranker_version == admin.rankers().rankers[0].ranker_version
    # It looks better than it is on what it was made of: that judges nobody who would take its place either.
    made(place, "after", ["another prompt"])
    judgement = judged(daemon, "after")
    assert judgement.trained_completions == 300
    assert judgement.tries == 1
