"""What a daemon says of itself: page, ``/status.json``, metrics, ``rankd status`` and ``rankd rankers``."""

import json
import re
import urllib.request
from dataclasses import dataclass
from html import unescape

from support.browser import Chromium
from support.scripted_clock import ScriptedClock

_ROW = re.compile(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>')
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Faces:
    """All of them."""

    facts: dict[str, str]
    """The page without a script, by row."""
    state: dict
    """``/status.json``."""
    metrics: dict
    """By name: a list of labels and values."""
    text: str
    """``rankd status``."""
    report: dict
    """``rankd status --json``."""
    rankers: dict
    """``rankd rankers list --json``."""
    verdict: str = ""
    """The page's headline in a browser; empty without one."""
    tone: str = ""
    """Its colour: ``good`` is green."""

    def metric(self, name: str, **labels: str) -> float | None:
        """The sample with these labels; None where there is none."""
        for found, value in self.metrics.get(name, ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                return value
        return None

    def labelled(self, name: str, label: str) -> list[str]:
        """Values of a label of samples that are 1."""
        return [found[label] for found, value in self.metrics.get(name, ()) if value == 1]


def look(clock: ScriptedClock, daemon, browser: Chromium | None = None) -> Faces:
    """Look at all, once all that is due is shown."""
    clock.settle(daemon.process)
    verdict, tone = ("", "") if browser is None else _in_browser(browser, daemon.http)
    plain, as_json, rankers = (
        _said(clock.run(*verb))
        for verb in (
            ("status", "--target", daemon.target),
            ("status", "--json", "--target", daemon.target),
            ("rankers", "list", "--json", "--admin", daemon.admin_target),
        )
    )
    return Faces(
        facts={unescape(name): unescape(value) for name, value in _ROW.findall(_get(daemon.http))},
        state=json.loads(_get(f"{daemon.http}status.json")),
        metrics=_samples(_get(f"{daemon.http}metrics")),
        text=plain,
        report=json.loads(as_json),
        rankers=json.loads(rankers),
        verdict=verdict,
        tone=tone,
    )


def _in_browser(browser: Chromium, url: str) -> tuple[str, str]:
    """The page's headline, and its tone."""
    page = browser.open(url)
    try:
        page.live()
        assert page.complaints == []
        return page.text("#verdict"), page.run("document.body.dataset.tone")
    finally:
        page.close()


def _said(ended) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def _samples(text: str) -> dict:
    samples: dict = {}
    for line in text.splitlines():
        if not line.startswith("#") and (found := _SAMPLE.match(line)):
            labels = dict(_LABEL.findall(found[2] or ""))
            samples.setdefault(found[1], []).append((labels, float(found[3])))
    return samples
