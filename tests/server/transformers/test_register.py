"""``rankd_transformers.register``, what it refuses, and the page that shows it."""

import copy
import logging
import re

import pytest
from support.repository import DOCS

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from rankd_client.integration import IntegrationSettings  # noqa: E402
from rankd_transformers import compatibility as hooks  # noqa: E402
from rankd_transformers import register  # noqa: E402
from support.transformers_engine import MODEL, Engine, make_tokenizer, registered  # noqa: E402
from transformers import AutoTokenizer, LlamaForCausalLM  # noqa: E402
from transformers.generation.continuous_batching import scheduler as theirs  # noqa: E402
from transformers.generation.continuous_batching.cache import PagedAttentionCache  # noqa: E402

PAGE = DOCS / "guides" / "transformers.md"
NOWHERE = IntegrationSettings(target="127.0.0.1:1")


def test_the_page_s_example_runs(reported_daemon, tmp_path, monkeypatch, capsys):
    """What docs/guides/transformers.md shows, on a model in a folder."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    copy.deepcopy(MODEL).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert isinstance(LlamaForCausalLM.from_pretrained(tmp_path), LlamaForCausalLM)
    assert AutoTokenizer.from_pretrained(tmp_path).decode([4]) == "long"
    monkeypatch.setenv("RANKD_TARGET", reported_daemon.target)
    # Answers of a model that makes no sense do not end by themselves.
    code = code.replace("max_new_tokens=512", "max_new_tokens=20")
    names = {"MODEL": str(tmp_path), "prompts": ["long " * (n % 5) + f"w{n % 50}" for n in range(30)]}
    exec(compile(code, PAGE.name, "exec"), names)
    assert len(names["outputs"]) == 30
    assert sum(names["ranked"].counts()["started"].values()) == 30
    assert "'started'" in capsys.readouterr().out


def test_registering_again_changes_nothing():
    """The same arguments give the same registration; others replace it for managers to come."""
    tokenizer = make_tokenizer()
    first = register(tokenizer, settings=NOWHERE, name="again")
    kind = theirs.SCHEDULER_MAPPING["again"]
    assert register(tokenizer, settings=IntegrationSettings(target="127.0.0.1:1"), name="again") is first
    assert theirs.SCHEDULER_MAPPING["again"] is kind
    other = register(tokenizer, settings=IntegrationSettings(target="127.0.0.1:2"), name="again")
    assert other is not first
    assert theirs.SCHEDULER_MAPPING["again"].registration is other
    assert register(make_tokenizer(), settings=other.settings, name="again") is not other


@pytest.mark.parametrize("name", ["fifo", "prefill_first"])
def test_transformers_own_types_are_left_alone(name):
    """Their names are refused."""
    with pytest.raises(ValueError, match=f"name: '{name}' is a scheduler type of transformers"):
        register(make_tokenizer(), settings=NOWHERE, name=name)


def test_something_that_makes_no_text_is_refused(monkeypatch):
    """And a variable that cannot be read is named."""
    with pytest.raises(TypeError, match="tokenizer: must have a method decode"):
        register("path/of/a/model", settings=NOWHERE)
    monkeypatch.setenv("RANKD_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="RANKD_TIMEOUT"):
        register(make_tokenizer())


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (theirs.Scheduler, "_get_waiting_candidates"),
        (theirs.Scheduler, "_cleanup_waiting_queue"),
        (theirs.Scheduler, "_process_candidates"),
        (theirs.Scheduler, "clear_cancelled_requests"),
        (PagedAttentionCache, "count_storable_requests"),
    ],
)
def test_a_hook_that_moved_is_named(monkeypatch, where, name):
    """Another transformers is refused with what is missing, the version that is there, and those that will do."""
    monkeypatch.delattr(where, name)
    with pytest.raises(RuntimeError, match=name) as refused:
        register(make_tokenizer(), settings=NOWHERE, name="moved")
    assert hooks.TRIED in str(refused.value)
    assert hooks.__version__ in str(refused.value)
    assert "moved" not in theirs.SCHEDULER_MAPPING


def test_a_hook_that_is_called_no_more_is_named(monkeypatch):
    """It is not enough that a method is there: what is overridden must be what transformers calls."""

    def schedule_batch(self, token_budget, cache_budget):
        return self._process_candidates(self._waiting(), token_budget, cache_budget, set())

    monkeypatch.setattr(theirs.FIFOScheduler, "schedule_batch", schedule_batch)
    with pytest.raises(RuntimeError, match="_cleanup_waiting_queue, _get_waiting_candidates"):
        register(make_tokenizer(), settings=NOWHERE, name="moved")


def test_without_registering_transformers_says_that_it_is_fifo():
    """The page says so: an unknown type is FIFO, with a warning of transformers' own."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("ContinuousBatchingLogger")
    logger.addHandler(handler)
    try:
        engine = Engine(MODEL, "rankedd")
    finally:
        logger.removeHandler(handler)
    assert type(engine.scheduler) is theirs.FIFOScheduler
    assert "Scheduler 'rankedd' not found. Defaulting to FIFO." in said


def test_processes_that_share_a_model_are_not_ordered(monkeypatch, caplog):
    """All must choose the same requests: arrival order and a warning, unless each has a model of its own."""
    cache = Engine(MODEL, "fifo").processor.cache
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for whole_model in (False, True):
        name, _ = registered("127.0.0.1:1", whole_model=whole_model)
        scheduler = theirs.SCHEDULER_MAPPING[name](cache, None, 4)
        assert (scheduler._ranking is not None) == whole_model
    assert caplog.text.count("whole_model=True") == 1
