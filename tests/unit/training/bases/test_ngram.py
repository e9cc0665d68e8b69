"""The n-gram tier: its graph says what its module says, on anything that can be fed; its hashes; its words."""

import numpy as np
import onnx
import pytest
import torch

from rankd.scoring.onnx_model import OnnxModel
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.chinese_glosses import common_characters
from rankd.training.bases.ngram import NgramBase, NgramRanker, NgramSizes, to_onnx
from rankd.training.bases.ngram_model import hash_pairs, hash_places
from rankd.training.bases.ngram_words import WordTable
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.parity import FEATURES, INPUTS, SCORE, onnx_runner, torch_runner

TOKENS = 500
SIZES = NgramSizes(dimensions=16, windows=24, spans=20, hidden=8, pair_buckets=997, head_buckets=211)


def make_words(tokens=TOKENS, dimensions=16):
    random = np.random.default_rng(1)
    table = random.integers(-127, 128, (tokens, dimensions)).astype(np.int8)
    table[0] = 0
    return WordTable(table, random.uniform(0.001, 0.01, dimensions).astype(np.float32))


def make_module(*, seed=0, spread=False, sizes=SIZES):
    """A module in which every weight matters, also those that start from zero."""
    module = NgramRanker(make_words(), sizes, seed, spread=spread).eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed + 1)
        for weights in (module.singles, module.pairs, module.heads, module.straight.weight):
            weights.normal_()
    return module


def make_batch(batch, tokens, seed=0):
    """Random ids under a random mask; what is masked is anything but zero."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, tokens + 1, batch)
    mask = (np.arange(tokens)[None, :] < lengths[:, None]).astype(np.int64)
    return random.integers(1, TOKENS, (batch, tokens)), mask


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 3), (2, 6), (4, 7), (5, 8), (16, 40), (2, 256)])
@pytest.mark.parametrize("spread", [False, True, "expected"])
def test_the_graph_is_the_module(shape, spread):
    """Onnxruntime gives PyTorch's scores for batches of every shape, padded, without a spread, with it, and by it."""
    module = make_module(spread=bool(spread))
    module.by_expected = spread == "expected"
    ids, mask = make_batch(*shape)
    served = onnx_runner(to_bytes(to_onnx(module)))(ids, mask)
    learned = torch_runner(module)(ids, mask)
    assert np.abs(learned).max() > 0.1
    np.testing.assert_allclose(served, learned, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (16, 40)])
def test_its_features_are_its_mean_word_vector(shape, precision, tmp_path):
    """The second output is the mean of the vectors of the tokens that count, whatever the padding."""
    module, words = make_module(), make_words()
    ids, mask = make_batch(*shape)
    (tmp_path / "model.onnx").write_bytes(to_bytes(to_onnx(module, precision)))
    spec = ModelSpec(str(tmp_path / "model.onnx"), INPUTS, SCORE, 0, features_name=FEATURES)
    model = OnnxModel(spec, SessionOptions("cpu"))
    scores, pooled = model.run_with_features(ids, mask)
    expected = [(words.table[i[m == 1]] * words.scale).mean(axis=0) for i, m in zip(ids, mask, strict=True)]
    assert model.features == 16
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5)
    assert scores.tobytes() == model.run(ids, mask).tobytes()


@pytest.mark.parametrize(("bias", "low", "high"), [(-1e3, 0.049, 0.05), (0.0, 0.05, 4.5), (1e3, 4.4, 4.5)])
def test_expected_lengths_are_ranked_by_the_spread_that_was_learned(bias, low, high):
    """The graph adds half of the module's spread squared, within the bounds that training keeps it in."""
    module = make_module(spread=True)
    with torch.no_grad():
        module.straight.weight[1] /= 10
        module.top.bias[1] += bias
    ids, mask = make_batch(64, 12)
    median = onnx_runner(to_bytes(to_onnx(module)))(ids, mask)
    with torch.inference_mode():
        spread = module(torch.from_numpy(ids), torch.from_numpy(mask))[1].numpy()
    module.by_expected = True
    expected = onnx_runner(to_bytes(to_onnx(module)))(ids, mask)
    np.testing.assert_allclose(expected - median, spread**2 / 2, rtol=1e-3, atol=1e-5)
    assert low <= spread.min() <= spread.max() <= high


@pytest.mark.parametrize("by_expected", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_scores_and_features_are_all_that_is_served(precision, by_expected):
    """A spread that was learned is in the graph where scores need it, and no output."""
    module = make_module(spread=True)
    module.by_expected = by_expected
    graph = to_onnx(module, precision).graph
    assert [o.name for o in graph.output] == ["score", "features"]
    assert any(node.op_type == "Exp" for node in graph.node) == by_expected


def test_in_bytes_it_is_nearly_the_module():
    """The int8 graph gives the module's scores but for the rounding of its weights, and the same order."""
    module = make_module()
    ids, mask = make_batch(200, 30)
    served = onnx_runner(to_bytes(to_onnx(module, "int8")))(ids, mask)
    learned = torch_runner(module)(ids, mask)
    assert 0 < np.abs(served - learned).max() < 0.1 * learned.std()
    assert np.corrcoef(served, learned)[0, 1] > 0.999


def test_in_bytes_no_cpu_overflows():
    """Two neighbouring products of the int8 graph fit into 16 bits, where CPUs without VNNI add them up."""
    model = to_onnx(make_module(), "int8")
    weights = {w.name: onnx.numpy_helper.to_array(w).astype(np.int64) for w in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type == "MatMulInteger"]
    assert len(products) == 2
    for product in products:
        assert 2 * 255 * np.abs(weights[product.input[1]]).max() < 2**15


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_neighbours_and_padding_change_nothing(precision):
    """A prompt's score is the same alone, among others, and behind padding of any kind."""
    module = make_module()
    run = onnx_runner(to_bytes(to_onnx(module, precision)))
    ids, mask = make_batch(12, 20)
    together = run(ids, mask)
    alone = np.concatenate([run(ids[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(mask.sum(axis=1))])
    wide = run(np.pad(ids, ((0, 0), (0, 9)), constant_values=7), np.pad(mask, ((0, 0), (0, 9))))
    np.testing.assert_allclose(alone, together, atol=2e-5)
    np.testing.assert_allclose(wide, together, atol=2e-5)
    assert np.ptp(together) > 1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nothing_to_read_is_a_score_too(precision):
    """A row whose mask is empty, which no tokenizer makes, gives a finite score."""
    run = onnx_runner(to_bytes(to_onnx(make_module(), precision)))
    assert np.isfinite(run(np.zeros((1, 1), dtype=np.int64), np.zeros((1, 1), dtype=np.int64))).all()


def test_order_counts():
    """Pairs, windows and places at the start tell the same words in another order apart."""
    module = make_module()
    ids = np.array([[5, 9, 30, 31, 8], [30, 9, 5, 31, 8]])
    first, second = torch_runner(module)(ids, np.ones_like(ids))
    assert abs(first - second) > 0.1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_same_weights_make_the_same_bytes(precision):
    """Export reproduces bit for bit, and other weights make other bytes."""
    assert to_bytes(to_onnx(make_module(), precision)) == to_bytes(to_onnx(make_module(), precision))
    assert to_bytes(to_onnx(make_module(), precision)) != to_bytes(to_onnx(make_module(seed=3), precision))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_only_plain_operators(precision):
    """The graph needs nothing but ONNX's own operators."""
    model = to_onnx(make_module(spread=True), precision)
    onnx.checker.check_model(model, full_check=True)
    assert {n.domain for n in model.graph.node} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]


@pytest.mark.parametrize("buckets", [997, 131_071])
def test_pairs_collide_as_rarely_as_chance_has_it(buckets):
    """Distinct pairs of real vocabulary size fill the buckets evenly: no more is shared than by a perfect hash."""
    random = np.random.default_rng(0)
    pairs = np.unique(random.integers(0, 40_000, (20_000, 2)), axis=0)
    # Neighbouring ids and repeated firsts are what a weak hash stumbles over.
    near = np.stack(np.meshgrid(np.arange(1000, 1100), np.arange(2000, 2200)), axis=-1).reshape(-1, 2)
    for some in (pairs, near):
        found = hash_pairs(torch.from_numpy(some[:, 0]), torch.from_numpy(some[:, 1]), buckets).numpy()
        assert found.min() >= 0
        assert found.max() < buckets
        used = len(np.unique(found))
        expected = buckets * (1 - (1 - 1 / buckets) ** len(some))
        assert used > 0.97 * expected


def test_hashes_do_not_overflow():
    """With the largest ids that a tokenizer may have, int64 gives what Python's integers give."""
    largest = 2**20 - 1
    ids = torch.full((1, 7), largest)
    assert hash_pairs(ids, ids, 131_071)[0, 0] == (largest * 1_000_003 + largest * 8_264_719 + 12_345) % 131_071
    assert hash_places(ids, 16_381)[0].tolist() == [(largest * 1_000_003 + i * 7_919) % 16_381 for i in range(7)]


def test_chinese_is_read():
    """Characters that MiniLM does not know get tokens of their own; what it knows keeps its ids."""
    base = NgramBase(Truncation(128, 64, 64))
    encode = base.tokenizer.encode
    unknown = base.tokenizer.token_to_id("[UNK]")
    assert unknown not in encode("请写一篇关于气候变化的长文章。").ids
    assert unknown not in encode("請寫一篇關於氣候變化的長文章。").ids
    assert encode("hello world").ids == [101, 7592, 2088, 102]
    assert len(set(common_characters())) == len(common_characters()) > 8_500
    module = base.module(0)
    assert len(module.singles) == base.tokenizer.get_vocab_size()
    assert np.isfinite(module.words.numpy()).all()


def test_words_that_are_alike_are_near():
    """The vectors keep what MiniLM knows: numbers are nearer to numbers than to verbs."""
    base = NgramBase(Truncation(128, 64, 64))
    vectors = base.module(0).words

    def likeness(a, b):
        one, other = (vectors[base.tokenizer.token_to_id(w)] for w in (a, b))
        return float(torch.cosine_similarity(one, other, dim=0))

    assert likeness("seven", "eight") > likeness("seven", "running") + 0.2
    assert likeness("write", "writing") > likeness("write", "germany") + 0.2
