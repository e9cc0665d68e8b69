"""transformers' continuous batching, stepped by hand: in which iteration what happens is the same on any machine."""

import math
import os
from contextlib import contextmanager

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation.continuous_batching import input_outputs
from transformers.generation.continuous_batching.requests import RequestState

EOS = 2


def tiny_model(*, hidden=32, layers=1, vocabulary=256):
    """A Llama with random weights, always the same ones."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=EOS,
    )
    return LlamaForCausalLM(config).eval()


class Engine:
    """A manager whose loop is run by whoever calls ``step``."""

    def __init__(self, model, scheduler="ranked", *, slots=4, **config):
        """Make the scheduler; ``config`` as ContinuousBatchingConfig."""
        defaults = {"num_blocks": 512, "page_size": 16, "max_batch_tokens": 256, "use_async_batching": False}
        self.manager = model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(
                scheduler_type=scheduler, max_requests_per_batch=slots, **(defaults | config)
            ),
        )
        self.processor = self.manager.batch_processor = self.manager._create_batch_processor()
        self.manager.current_batch = 0
        self.scheduler = self.processor.scheduler
        self.iterations, self.finished, self.outputs, self.first = 0, {}, {}, {}
        self._bootstrapping = self.processor.use_async_batching

    def add(self, request_id, tokens, most, eos=-1):
        """Send a request; it is seen by ``arrive`` or the next step."""
        self.manager.add_request(tokens, request_id=request_id, max_new_tokens=most, eos_token_id=eos)

    def arrive(self):
        """Let what was sent reach the scheduler, without a step."""
        self.processor._update_tp_group_state()

    def step(self):
        """One iteration; notes who finished in it and who got a first token."""
        self.iterations += 1
        self.manager._generation_loop_body(self.processor, bootstrapping=self._bootstrapping)
        self._bootstrapping = False
        for request_id, state in self.scheduler.active_requests.items():
            if request_id not in self.first and state.generated_tokens:
                self.first[request_id] = self.iterations
        while (output := self.manager.get_result(timeout=0.001)) is not None:
            if output.is_finished():
                self.finished[output.request_id] = self.iterations
                self.first.setdefault(output.request_id, self.iterations)
                self.outputs[output.request_id] = output

    def run(self, *, at=None, most=100_000):
        """Step until all is done. ``at``: iterations and what to do before them."""
        self.arrive()
        while self.processor.has_pending_requests():
            if at is not None and self.iterations in at:
                at.pop(self.iterations)()
            self.step()
            assert self.iterations < most, "it does not end"
        return self.finished


class Ended:
    """Lets answers end with an end-of-text token after as many tokens as they shall have: nobody is told the length."""

    def __init__(self, lengths):
        """``lengths`` by request id; others are left alone."""
        self.lengths = lengths

    def __enter__(self):
        lengths, update = self.lengths, RequestState.update_and_check_completion

        def ended(state, token, logprob):
            before = len(state.initial_tokens) - state._true_initial_tokens if state._true_initial_tokens else 0
            made = before + len(state.generated_tokens) + 1
            if made >= lengths.get(state.request_id, math.inf):
                token = EOS
            elif token == EOS:
                token = EOS + 1
            return update(state, token, logprob)

        self._update, RequestState.update_and_check_completion = update, ended
        return self

    def __exit__(self, *_):
        RequestState.update_and_check_completion = self._update


class _Nothing:
    """A stream or an event where all is done at once."""

    def __init__(self, *_, **__):
        pass

    def synchronize(self, *_):
        pass

    record_event = wait_event = synchronize


@contextmanager
def double_buffered_on_a_cpu():
    """Lets ``use_async_batching=True`` run without a GPU: transformers' own code, with streams that do nothing.

    It schedules a batch before it has seen the tokens of the one before, which is what matters to a scheduler.
    """
    replaced = [
        (input_outputs.ContinuousBatchingAsyncIOs, "_supported_device_types", ("cpu",)),
        (input_outputs, "create_device_stream", _Nothing),
        (input_outputs.torch, "Event", _Nothing),
    ]
    before = [getattr(where, name) for where, name, _ in replaced]
    for where, name, value in replaced:
        setattr(where, name, value)
    try:
        yield
    finally:
        for (where, name, _), value in zip(replaced, before, strict=True):
            setattr(where, name, value)
