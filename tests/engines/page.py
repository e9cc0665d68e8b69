"""What real engines did, as one page that needs nothing from elsewhere."""

from rankd.html.parts import NONE, card, document, headline, keys, percent, table, tile_row
from rankd.html.svg import Plot, linear_scale, percent_scale


def page(everything):
    """The document; what was not run is not on it."""
    results = everything["results"]
    bad = [name for name, ended in everything["steps"].items() if ended["status"] != 0]
    lead = f"<b>{len(everything['steps']) - len(bad)} of {len(everything['steps'])} steps passed</b> in this run"
    lead += f", failed: {', '.join(bad)}." if bad else "."
    head = headline("rankd · make engines", "What real engines did", lead)
    cards = []
    if burst := results.get("bursts"):
        cards += [_curves(burst), _burst(burst)]
    runs = [run for name in sorted(results) if name.startswith("arrivals") for run in results[name]["runs"]]
    cards += [_arrivals(runs)] if runs else []
    for name, title in {"faults": "A daemon that misbehaves, in process", "http_faults": "The same over HTTP"}.items():
        cards += [_faults(results[name], title)] if name in results else []
    cards.append(_steps(everything["steps"]))
    return document("rankd: real engines", head, _tiles(results), cards)


def _tiles(results):
    tiles = []
    for name, ranker in results.get("bursts", {}).get("rankers", {}).items():
        own = ranker["scheduler"]
        more = (
            f"of the gain that another sample's lengths give; median of {ranker['draws']['share_of_other_sample'][0]}"
        )
        tiles.append((f"burst, {name} ranker", percent(own.get("share_of_other_sample", 0)), more))
        tiles.append((f"per token, {name}", f"{own['times_better_per_token'][0]}x", "better than arrival order, mean"))
    if cost := results.get("cost"):
        tiles.append(("one score for all", f"{cost['one_score']['processor_time_ratio']}", "of vLLM's processor time"))
    return tile_row(tiles)


def _orders(burst):
    yield "arrival order", burst["fcfs"], "line-chance"
    for name, ranker in burst["rankers"].items():
        yield f"RankScheduler, {name}", ranker["scheduler"], "line-ranker" + (" thin" if name == "bundled" else "")
    if "other_sample" in burst:
        yield "another sample's lengths", burst["other_sample"], "line-mark"
    yield "true lengths", burst["oracle"], "line-oracle"


def _curves(burst):
    orders = list(_orders(burst))
    plot = Plot(
        linear_scale(0, max(max(figures["curve"]) for _, figures, _ in orders), lambda v: f"{v:,.0f}"),
        percent_scale(),
        "latency in engine steps",
        "share of the requests that are done",
        "Share of the requests of a burst that are done within so many steps, by order",
    )
    for _, figures, style in orders:
        plot.line(
            [(value, share / 100) for value, share in zip(figures["curve"], range(1, 100, 2), strict=True)], style
        )
    named = keys(("chance", "arrival order"), ("ranker", "RankScheduler (thin: bundled)"), ("oracle", "true lengths"))
    note = f"{burst['prompts']} prompts of {burst['source']} at once, {burst['slots']} slots, vLLM in process."
    return card("A burst, by order", named + plot.svg(), note)


_COLUMNS = ("mean", "p50", "p90", "p99", "max", "per_token_mean", "per_token_p90")


def _burst(burst):
    rows = [[name, *(f"{figures[c]:,.1f}" for c in _COLUMNS)] for name, figures, _ in _orders(burst)]
    return card("Steps", table(["order", *(c.replace("_", " ") for c in _COLUMNS)], rows), "Engine steps.")


def _arrivals(runs):
    rows = []
    for run in runs:
        for how in ("scheduler", "static"):
            if own := run.get(how):
                shares = [f"{own[name]:.2f}" for name in ("p99_of_fcfs", "max_of_fcfs")]
                rows.append([f"{run['load']}, seed {run['seed']}", run["ranker"], how, percent(own["gain"]), *shares])
    columns = ["load", "ranker", "keys", "of the oracle's gain", "p99 of arrival order's", "max of it"]
    return card("Poisson arrivals, default policy", table(columns, rows), "Latencies in engine steps.", wide=True)


def _faults(found, title):
    rows = []
    for name, run in found.get("faults", found).items():
        if isinstance(run, dict):
            asked = ", ".join(f"{outcome} {count}" for outcome, count in run["asked"].items())
            rows.append([name, str(run.get("mean", run.get("mean_s"))), str(run.get("back_s", NONE)), asked])
    columns = ["what happens", "mean latency", "ranked again, s", "what became of asking"]
    return card(title, table(columns, rows), "Every request of every run ended with all of its tokens.", wide=True)


def _steps(steps):
    rows = [[name, f"{ended['seconds']:.0f}", str(ended["status"])] for name, ended in steps.items()]
    return card("Steps of this run", table(["step", "seconds", "status"], rows), "0 is success.")
