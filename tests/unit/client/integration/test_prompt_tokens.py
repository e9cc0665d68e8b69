"""Estimates of a prompt's tokens, and what is learned from engines' counts."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import PromptText, PromptTokens
from support.examples import examples

TEXT = PromptText(8000)


def learned(*counts, text=TEXT, model="m"):
    """After so many counts (tokens, cached)."""
    tokens = PromptTokens()
    for count in counts:
        tokens.learn(model, text, *count)
    return tokens


def test_four_bytes_are_a_token_until_an_engine_counts():
    """And for a model that never answered it stays so; token ids are exact."""
    tokens = learned(*[(4000,)] * 50)
    assert tokens.estimate("other", TEXT) == (2000, 0)
    assert tokens.estimate("m", TEXT) == (4000, 0)
    assert tokens.estimate("m", PromptText(token_ids=123)) == (123, 0)
    assert tokens.estimate("m", PromptText()) == (0, 0)


def test_few_counts_move_little_and_lies_of_a_few_nothing():
    """The median of recent prompts, what was presumed among them."""
    assert learned(*[(8000,)] * 3).bytes_per_token("m") == 4
    assert learned(*[(2500,)] * 70, *[(1,)] * 30, *[(10**9,)] * 30).bytes_per_token("m") == 3.2


@pytest.mark.parametrize(("tokens", "ratio"), [(1, 8), (10**9, 1)])
def test_a_ratio_is_bounded(tokens, ratio):
    """Whatever an engine, or something in its place, says."""
    assert learned(*[(tokens,)] * 200).bytes_per_token("m") == ratio


def test_it_follows_the_traffic():
    """Another language, another tokeniser: after some hundred prompts the old ones do not count."""
    assert learned(*[(2000,)] * 500, *[(4000,)] * 200).bytes_per_token("m") == 2


@pytest.mark.parametrize(
    "text", [PromptText(999), PromptText(8000, is_all=False), PromptText(token_ids=5), PromptText(8000, token_ids=1)]
)
def test_prompts_that_are_not_all_text_teach_nothing(text):
    """Of a short one the template is much, of one with pictures nobody knows."""
    assert learned(*[(7000,)] * 50, text=text).bytes_per_token("m") == 4


def test_what_went_before_is_expected_to_be_cached_as_it_was():
    """As a share of it; a prompt without an answer in it has nothing that went before."""
    goes_on = PromptText(8000, earlier=6000)
    tokens = learned(*[(2000, 1200)] * 150, text=goes_on)
    assert tokens.cached_share("m") == pytest.approx(0.8)
    assert tokens.estimate("m", goes_on) == (2000, 1200)
    assert tokens.estimate("m", TEXT) == (2000, 0)


def test_an_engine_that_leaves_out_what_is_nothing_is_understood():
    """Before it ever said what it cached nothing is known; afterwards silence is nothing."""
    goes_on = PromptText(8000, earlier=6000)
    assert learned(*[(2000, None)] * 150, text=goes_on).cached_share("m") == 0
    half = learned(*[(2000, 1500), (2000, None)] * 150, text=goes_on)
    assert half.cached_share("m") == pytest.approx(0.5, abs=0.01)


@given(
    st.lists(
        st.tuples(
            st.integers(-10, 2**40),
            st.none() | st.integers(-10, 2**40),
            st.builds(PromptText, st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 5), st.booleans()),
        ),
        max_size=40,
    )
)
@settings(max_examples=examples(200), deadline=None)
def test_no_count_makes_an_estimate_that_cannot_be(counts):
    """A protobuf's numbers, and no more cached than there are."""
    tokens = PromptTokens()
    for count, cached, text in counts:
        tokens.learn("m", text, count, cached)
        estimate = tokens.estimate("m", text)
        assert 0 <= estimate.cached <= estimate.tokens < 2**32
        assert 1 <= tokens.bytes_per_token("m") <= 8
        assert 0 <= tokens.cached_share("m") <= 1


def test_models_are_bounded_and_threads_share_it():
    """The oldest makes room; nothing is lost on the way."""
    tokens = PromptTokens()

    def teach(number):
        for model in range(200):
            tokens.learn(f"{number}-{model}", TEXT, 2000)

    threads = [threading.Thread(target=teach, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens._models) == 256
