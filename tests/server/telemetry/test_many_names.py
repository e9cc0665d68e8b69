"""Names that callers and operators choose: metrics of what is there now are there, however many names there were."""

import re
from urllib.request import urlopen

from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from rankd_client.v1 import completion_pb2
from support.wire import completion, completion_stub, report_many

from rankd.telemetry.catalogue import CHOSEN_LABELS, METRICS
from rankd.telemetry.readings import PeriodicReader, Readings
from rankd.telemetry.telemetry import Telemetry

VERSION = "tiny@1.0.0"
OF_A_WINDOW = {
    "rankd_saved_state",
    "rankd_order_trust",
    "rankd_order_ignores_lengths",
    "rankd_order_prompt_cost",
    "rankd_quality_work_tau",
    "rankd_guard_mode",
    "rankd_guard_pinned",
    "rankd_quality_tau",
    "rankd_quality_realised_gain",
    "rankd_quality_decided_pair_share",
    "rankd_quality_compared_total",
    "rankd_quality_pairs_total",
    "rankd_quality_pair_tokens_total",
    "rankd_quality_pair_products_total",
    "rankd_quality_pair_token_products_total",
    "rankd_adaptation_in_use",
    "rankd_adaptation_completions",
}


def exposition(daemon):
    return urlopen(daemon.http + "/metrics", timeout=30).read().decode()


def names_of(text, model):
    """Names of the metrics that have a value of a model."""
    return {line.partition("{")[0] for line in text.splitlines() if f'model="{model}"' in line}


def test_after_many_made_up_models_a_new_one_has_all_its_metrics(start_daemon, wait_until):
    """900 models that come and go, a scrape after every few: the 901st is seen whole, and those before are gone."""
    daemon = start_daemon(quality={"max_windows": 8})
    with daemon.channel() as channel:
        for first in range(0, 900, 8):
            for n in range(first, first + 8):
                one = completion_pb2.ReportCompletionsRequest(
                    model=f"made-up-{n}", completions=[completion(f"r{n}", 1.0, 5, VERSION)]
                )
                assert completion_stub(channel).ReportCompletions(one, timeout=10).accepted_count == 1
            exposition(daemon)
    report_many(daemon, "honest", 120)
    wait_until(lambda: names_of(exposition(daemon), "honest") == OF_A_WINDOW)
    text = exposition(daemon)
    assert "otel_metric_overflow" not in text
    assert len(set(re.findall(r'model="([^"]*)"', text))) <= 8


def test_after_many_promotions_the_ranker_in_service_is_shown():
    """3,000 versions, one after the other: each is shown while it is there, and only then."""
    telemetry = Telemetry("0")
    version = ["r@0"]
    telemetry.observe("rankd.ranker.info", lambda: [(1.0, {"ranker_version": version[0], "provider": "cpu"})])
    for n in range(3000):
        version[0] = f"r@{n}"
        shown = [s for family in telemetry.registry.collect() for s in family.samples if "info" in s.name]
        assert [s.labels["ranker_version"] for s in shown if "ranker_version" in s.labels] == [version[0]]
    telemetry.shutdown()


def test_all_labels_that_others_choose_are_read_and_not_kept():
    """What is declared with other labels than words of ours is among those that pass the instruments by."""
    words = {"policy", "reason", "outcome", "stage", "from", "to", "kind", "of", "mode", "bound", "verdict"}
    words |= {"evidence", "objective", "provider", "setting", "operator", "state", "measure", "statistic", "part"}
    words |= {"rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"}
    for name, metric in METRICS.items():
        assert set(metric.labels) - words <= CHOSEN_LABELS, name


class _Kept(MetricExporter):
    """Keeps what is exported."""

    def __init__(self, **options):
        super().__init__(**options)
        self.data = []

    def export(self, metrics_data, *_, **__):
        self.data.append(metrics_data)
        return MetricExportResult.SUCCESS

    def shutdown(self, *_, **__):
        pass

    def force_flush(self, *_, **__):
        return True

    def points(self, name):
        """The points of a metric in the last export, by model."""
        scopes = self.data[-1].resource_metrics[0].scope_metrics
        (metric,) = [m for s in scopes for m in s.metrics if m.name == name] or [None]
        return {} if metric is None else {p.attributes["model"]: p for p in metric.data.data_points}


def exported(monkeypatch, **options):
    """A telemetry that exports what ``values`` holds by such an exporter, and that exporter."""
    kept = _Kept(**options)
    values, readers = {}, []

    def make_readers(registry, exporters, readings: Readings, usable):
        del registry, exporters, usable
        readers.append(PeriodicReader(readings, kept))
        return readers

    monkeypatch.setattr("rankd.telemetry.telemetry.make_metric_readers", make_readers)
    telemetry = Telemetry("0")
    telemetry.observe("rankd.quality.compared", lambda: [(v, {"model": m}) for m, v in values.items()])
    return telemetry, readers[0], kept, values


def test_exported_counters_begin_anew_with_their_window(monkeypatch):
    """Cumulative: a series that was gone, or that shrank, counts from its return on."""
    telemetry, reader, kept, values = exported(monkeypatch)
    values |= {"a": 5.0, "b": 7.0}
    reader.collect()
    first = kept.points("rankd.quality.compared")
    assert {m: p.value for m, p in first.items()} == {"a": 5.0, "b": 7.0}
    values |= {"a": 6.0, "b": 2.0}
    reader.collect()
    second = kept.points("rankd.quality.compared")
    assert (second["a"].value, second["a"].start_time_unix_nano) == (6.0, first["a"].start_time_unix_nano)
    assert second["b"].value == 2.0
    assert second["b"].start_time_unix_nano > first["b"].start_time_unix_nano
    values.clear()
    reader.collect()
    assert kept.points("rankd.quality.compared") == {}
    telemetry.shutdown()


def test_an_exporter_of_differences_gets_differences(monkeypatch):
    """As OpenTelemetry's own instruments gave them."""
    telemetry, reader, kept, values = exported(
        monkeypatch, preferred_temporality={ObservableCounter: AggregationTemporality.DELTA}
    )
    got = []
    for value in (5.0, 8.0, 8.0, 1.0):
        values["a"] = value
        reader.collect()
        got.append(kept.points("rankd.quality.compared")["a"].value)
    assert got == [5.0, 3.0, 0.0, 1.0]
    telemetry.shutdown()


def test_a_reading_that_fails_hides_no_other(capsys):
    """It is logged without what it was about."""
    telemetry = Telemetry("0")

    def fails():
        raise ValueError("sesame-prompt")

    telemetry.observe("rankd.order.trust", fails)
    telemetry.observe("rankd.guard.pinned", lambda: [(1.0, {"model": "m", "ranker_version": "r"})])
    names = {s.name for family in telemetry.registry.collect() for s in family.samples}
    assert "rankd_guard_pinned" in names
    assert "sesame-prompt" not in capsys.readouterr().out
    telemetry.shutdown()
