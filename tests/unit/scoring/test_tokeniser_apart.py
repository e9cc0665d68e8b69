"""A tokeniser in a process of its own gives what it gives at home, and its faults stay there."""

from pathlib import Path

import psutil
import pytest
from support.hostile_rankers import growing_tokenizer, plain_tokenizer

from rankd.errors import ArtifactError, InferenceError
from rankd.registry.artifact_files import TOKENIZER
from rankd.registry.bundled import default_ranker_path
from rankd.scoring.memory_file import MemoryFile
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.scoring.tokeniser_apart import TokeniserApart

PROMPTS = ["", "a", "What is the capital of France?", "日本語 Ünïcödé 🙂\n\0", "long " * 5000, "long " * 5000 + "end"]
CUT = Truncation(128, 64, 64)


def content_of(data):
    file = MemoryFile("tokenizer.json")
    with open(file.fd, "wb", closefd=False) as stream:
        stream.write(data)
    return file


@pytest.fixture
def apart():
    """Makes them."""
    made = []

    def make(data, cut=CUT, memory=2**29, start_seconds=60.0, seconds=30.0):
        options = {"memory": memory, "start_seconds": start_seconds, "seconds": seconds}
        made.append(TokeniserApart(Path("r") / TOKENIZER, cut, content_of(data), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("cut", [CUT, Truncation(16, 16, 0), Truncation(7, 1, 6)])
def test_it_gives_the_same(apart, cut):
    """Ids, cuts, estimates and limits, for any number of prompts."""
    data = (default_ranker_path() / TOKENIZER).read_bytes()
    home, other = Tokeniser(default_ranker_path() / TOKENIZER, cut), apart(data, cut)
    assert other.limits == home.limits
    assert [other.cut(p) for p in PROMPTS] == [home.cut(p) for p in PROMPTS]
    assert [other.estimate(home.cut(p)) for p in PROMPTS] == [home.estimate(home.cut(p)) for p in PROMPTS]
    for prompts in ([], PROMPTS[:1], PROMPTS):
        texts = [home.cut(p) for p in prompts]
        assert [ids.tolist() for ids in other.encode(texts)] == [ids.tolist() for ids in home.encode(texts)]


def again(tokeniser, wait_until):
    """Wait until it encodes again, and give what."""
    found = []

    def encodes():
        try:
            found[:] = tokeniser.encode(["long"])
        except InferenceError:
            return False
        return True

    wait_until(encodes)
    return found[0].tolist()


def test_a_text_that_ends_it_fails_alone(apart, wait_until):
    """As one that makes more text of it than memory holds: the next one starts another process."""
    tokeniser = apart(growing_tokenizer("w7").to_str().encode(), memory=2**28)
    before = tokeniser.encode(["long"])[0].tolist()
    with pytest.raises(InferenceError) as caught:
        tokeniser.encode(["w7 w7"])
    assert "w7" not in str(caught.value)
    assert again(tokeniser, wait_until) == before


def test_a_text_that_takes_for_ever_fails_alone(apart, wait_until):
    """It is given its time, then its process ends."""
    data = growing_tokenizer("w7", times=4).to_str().encode()
    tokeniser = apart(data, memory=2**50, seconds=0.5)
    before = again(tokeniser, wait_until)
    with pytest.raises(InferenceError):
        tokeniser.encode(["w7 " * 4])
    assert again(tokeniser, wait_until) == before


def test_what_cannot_be_read_says_so(apart):
    """With the error that it has at home, or with the settings that were too small."""
    with pytest.raises(ArtifactError) as caught:
        apart(b"{}")
    assert caught.value.reason == "BAD_TOKENIZER"
    with pytest.raises(ArtifactError, match=r"scoring\.load_memory"):
        apart(plain_tokenizer([f"v{i}" for i in range(200_000)]).to_str().encode(), memory=2**20)


def test_it_ends_when_it_is_closed(apart, wait_until):
    """And encodes nothing more."""
    tokeniser = apart(plain_tokenizer().to_str().encode())
    process = psutil.Process(tokeniser._process.pid)
    tokeniser.close()
    wait_until(lambda: not process.is_running())
    with pytest.raises(InferenceError):
        tokeniser.encode(["long"])
