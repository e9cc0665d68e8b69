"""rankd-vllm against vLLM's own source, as written down by tests/engines/vllm/record_hooks.py: needs no vLLM."""

import ast
import json

import pytest
from support.repository import CONTRACT, ROOT

RECORDS = sorted(CONTRACT.glob("vllm_*_hooks.json"))
PACKAGE = ROOT / "clients" / "vllm" / "rankd_vllm"
TREES = {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}
OVERRIDDEN = {"RankScheduler": "Scheduler", "RankedRequests": "RequestQueue", "RankStatLogger": "StatLoggerBase"}
OURS = {node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


class Record:
    """What one version of vLLM has."""

    def __init__(self, path):
        read = json.loads(path.read_text())
        self.version, self.modules, self.classes = read["version"], read["modules"], read["classes"]
        self.texts = read["texts"]

    def of(self, name, kind):
        """Methods or attributes of a class of vLLM, with those of its bases."""
        entry = self.classes.get(name, {"bases": [], "methods": {}, "attributes": []})
        found = {}
        for base in entry["bases"]:
            found |= self.of(base, kind)
        return found | (entry[kind] if kind == "methods" else dict.fromkeys(entry[kind]))

    def everything(self, name):
        """What an instance of a class of vLLM has."""
        return self.of(name, "methods").keys() | self.of(name, "attributes").keys()


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def record(request):
    """Each of the versions."""
    return Record(request.param)


def methods_of(node):
    """Our methods, by name."""
    return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}


def reads(tree, *owners):
    """Attributes that are read of variables of some names."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in owners
    }


def test_the_records_are_of_the_versions_that_were_tried():
    """compatibility.TRIED names them; what is compared below is what is named in messages."""
    tried = next(
        ast.literal_eval(node.value)
        for node in TREES["compatibility"].body
        if isinstance(node, ast.Assign) and node.targets[0].id == "TRIED"
    )
    records = [Record(path) for path in RECORDS]
    assert [record.version.rpartition(".")[0] for record in records] == list(tried)
    for record in records:
        assert set(record.texts) == {"vllm.stat_logger_plugins", "X-Vllm-Priority"}


def test_what_is_imported_is_there(record):
    """Every name that rankd-vllm imports of vLLM is one of the module that it is imported from."""
    imports = [
        (node.module, alias.name)
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vllm"
        for alias in node.names
    ]
    assert len(imports) >= 5
    unknown = [(module, name) for module, name in imports if name not in record.modules.get(module, ())]
    assert not unknown, "run tests/engines/vllm/record_hooks.py with these modules, and look whether they are there"


@pytest.mark.parametrize("ours", OVERRIDDEN)
def test_what_is_overridden_can_be_called_as_vllm_calls_it(ours, record):
    """Methods of the same name take what vLLM's take: by the same names, or whatever is given."""
    theirs, mine = record.of(OVERRIDDEN[ours], "methods"), methods_of(OURS[ours])
    shared = [name for name in mine if name in theirs and name != "__init__"]
    assert shared
    for name in shared:
        a = mine[name].args
        own = [p.arg for p in (*a.args[1:], *a.kwonlyargs)]
        takes_any = a.vararg is not None or a.kwarg is not None
        given = [parameter.rstrip("=") for parameter in theirs[name] if parameter != "*"]
        assert own == given[: len(own)], name
        assert takes_any or len(own) == len(given), name


def test_a_waiting_queue_does_all_that_vllm_asks_of_one(record):
    """RankedRequests has every abstract method of RequestQueue."""
    assert len(record.classes["RequestQueue"]["abstract"]) >= 10
    assert set(record.classes["RequestQueue"]["abstract"]) <= methods_of(OURS["RankedRequests"]).keys()


def test_what_is_read_of_vllm_is_there(record):
    """Attributes that are read of vLLM's scheduler, requests and statistics are theirs."""
    mine = OURS["RankScheduler"]
    set_here = {
        node.attr for node in ast.walk(mine) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    of_scheduler = reads(mine, "self") - set_here - methods_of(mine).keys()
    assert {"running", "requests", "kv_cache_manager"} <= of_scheduler
    assert of_scheduler <= record.everything("Scheduler")
    replaced = set_here & {"policy", "waiting", "kv_holding_waiting"}
    assert replaced <= record.everything("Scheduler"), "what is replaced is not what vLLM uses"
    assert reads(mine, "request") | reads(OURS["RankedRequests"], "request") <= record.everything("Request")
    assert reads(TREES["stat_logger"], "stats") <= record.everything("FinishedRequestStats")
    assert reads(TREES["stat_logger"], "iteration_stats") <= record.everything("IterationStats")
    assert reads(TREES["scheduling_mode"], "scheduler") <= record.everything("SchedulerConfig")
    assert {"policy", "scheduler_cls", "async_scheduling"} <= record.everything("SchedulerConfig")
    assert "ignore_eos" in record.everything("SamplingParams")
    assert {"usage", "enable_caching", "enable_kv_cache_events"} <= record.everything("KVCacheManager")
    assert record.of("KVCacheManager", "methods")["prefix_cache_lookup_enabled"] == ["request"]
    given, *others = record.of("KVCacheManager", "methods")["get_computed_blocks"]
    assert given == "request"
    assert all(parameter.endswith("=") for parameter in others)
    assert "scheduled_new_reqs" in record.everything("SchedulerOutput")
    assert reads(mine, "new") == {"req_id", "num_computed_tokens"} <= record.everything("NewRequestData")


def test_what_is_checked_at_load_is_there(record):
    """compatibility.py refuses no vLLM of a version that it is made for."""
    checks = {node.name: node for node in TREES["compatibility"].body if isinstance(node, ast.FunctionDef)}

    def literal(function, name):
        return next(
            ast.literal_eval(node.value)
            for node in ast.walk(checks[function])
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
        )

    theirs = record.of("Scheduler", "methods")
    for name, parameters in literal("check_scheduler", "methods").items():
        assert set(parameters) <= {parameter.rstrip("=") for parameter in theirs[name]}, name
    assert literal("check_finished", "wanted") <= record.everything("FinishedRequestStats")
