"""What was learned of the traffic is told alike wherever a daemon tells of quality, and nothing where nothing is."""

import json
import re
from urllib.request import urlopen

import pytest
from rankd_client import RankClient
from support.learned_standing import hold_back, taught, teach
from support.wire import report_many

from rankd.clock import CLOCK


@pytest.fixture(scope="module")
def saved():
    """What a model's traffic taught until it ordered."""
    return taught()


def read(daemon, path):
    daemon.app.status._answers.clear()
    return urlopen(daemon.http + path, timeout=30).read().decode()


def metrics(daemon, model):
    """Values of the gauges of what was learned of a model, by name, and bound where there is one."""
    found = {}
    for line in read(daemon, "/metrics").splitlines():
        if line.startswith("rankd_adaptation_") and f'model="{model}"' in line:
            bound = re.search(r'bound="(\w+)"', line)
            name = line.partition("{")[0].removeprefix("rankd_adaptation_")
            found[name + (f" {bound[1]}" if bound else "")] = float(line.rpartition(" ")[2])
    return found


def switches(daemon):
    """How often what orders changed, by what does since."""
    lines = re.findall(
        r'^rankd_adaptation_switches_total{.*?to="(\w+)".*?} (\S+)$', read(daemon, "/metrics"), re.MULTILINE
    )
    return {to: float(count) for to, count in lines}


def test_what_orders_is_told_with_what_it_is_worth(start_daemon, call, saved):
    """By the client, by ``rankd status``, in JSON, as metrics and without JavaScript: the same figures."""
    daemon = start_daemon()
    report_many(daemon, "llm", 20)
    window = teach(daemon, "llm", saved)
    status = window.adaptation.status
    with RankClient(daemon.target, timeout=30) as client:
        (quality,) = client.quality().qualities
    learned = quality.learned
    assert quality.learned_in_use
    # Those that were reported without features.
    assert (learned.state, learned.switches, learned.left_out) == ("in_use", 1, 20)
    assert (learned.completions, learned.compared) == (status.completions, status.compared)
    assert learned.since == pytest.approx(CLOCK.to_wall(status.since), abs=0.01)
    told = json.loads(read(daemon, "/status.json"))["windows"][0]["learned"]
    assert (told["in_use"], told["state"], told["switches"], told["left_out"]) == (True, "in_use", 1, 20)
    assert (told["completions"], told["compared"]) == (status.completions, status.compared)
    assert told["since"] == pytest.approx(learned.since, abs=0.01)
    exposed = metrics(daemon, "llm")
    assert (exposed["in_use"], exposed["completions"]) == (1.0, status.completions)
    assert switches(daemon) == {"learned": 1.0, "base": 0.0}
    for figure in ("base_tau", "learned_tau", "difference"):
        interval, of_client = getattr(status, figure), getattr(learned, figure)
        for bound in ("value", "low", "high"):
            exact = getattr(interval, bound)
            assert getattr(of_client, bound) == told[figure][bound] == pytest.approx(exact)
            assert exposed[f"{figure} {bound}"] == pytest.approx(exact)
    facts = read(daemon, "/?plain")
    assert f"in use, {status.completions:,} completions; learned scores are used" in facts
    shown = " ".join(call("status", "--target", daemon.target).stdout.split())
    assert f"from {status.completions:,} completions: tau" in shown
    assert "in use since" in shown
    hold_back(daemon, window)
    assert f"better, {status.completions:,} completions; the ranker" in read(daemon, "/?plain")
    with RankClient(daemon.target, timeout=30) as client:
        (quality,) = client.quality().qualities
    assert (quality.learned.state, quality.learned_in_use) == ("in_use", False)
    shown = " ".join(call("status", "--target", daemon.target).stdout.split())
    assert "better, and comes into use when no pilot is under way" in shown


def test_what_is_not_known_is_told_as_such(start_daemon):
    """Too few completions: a state and a number, no figures."""
    daemon = start_daemon()
    report_many(daemon, "llm", 20)
    with RankClient(daemon.target, timeout=30) as client:
        (quality,) = client.quality().qualities
    learned = quality.learned
    assert not quality.learned_in_use
    assert (learned.state, learned.since, learned.switches) == ("learning", None, 0)
    assert learned.base_tau is learned.learned_tau is learned.difference is None
    told = json.loads(read(daemon, "/status.json"))["windows"][0]["learned"]
    assert (told["in_use"], told["state"], told["since"], told["difference"]) == (False, "learning", None, None)
    exposed = metrics(daemon, "llm")
    assert set(exposed) == {"in_use", "completions"}
    assert exposed["in_use"] == 0.0
    assert "the ranker's own scores are used" in read(daemon, "/").replace("&#x27;", "'")


def test_where_nothing_is_learned_nothing_is_told(start_daemon, call):
    """``adapt.enabled = false``: no figures that stand still."""
    daemon = start_daemon(adapt={"enabled": False})
    report_many(daemon, "llm", 20)
    with RankClient(daemon.target, timeout=30) as client:
        (quality,) = client.quality().qualities
    assert (quality.learned, quality.learned_in_use) == (None, False)
    assert json.loads(read(daemon, "/status.json"))["windows"][0]["learned"] is None
    assert metrics(daemon, "llm") == {}
    assert "learned llm" not in read(daemon, "/")
    assert "learned" not in call("status", "--target", daemon.target).stdout
