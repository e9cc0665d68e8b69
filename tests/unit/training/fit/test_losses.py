"""Each loss against a slow plain reference, and what a censored row may and may not do to it."""

import math
import random

import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from rankd.training.fit.losses import (  # noqa: E402
    known_longer,
    likely_longer,
    list_mle,
    log_normal,
    pairwise_logistic,
    spread_of,
)


def a_list(seed, n=17, cut=0.3, groups=2, lengths=12):
    random_ = random.Random(seed)
    tokens = [random_.randint(1, lengths) for _ in range(n)]
    return (
        [random_.gauss(0, 2) for _ in range(n)],
        tokens,
        [random_.random() > cut for _ in range(n)],
        [random_.randrange(groups) for _ in range(n)],
    )


def tensors(scores, tokens, complete, groups):
    return (
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(tokens, dtype=torch.float64),
        torch.tensor(complete),
        torch.tensor(groups),
    )


def is_longer(i, j, tokens, complete, groups, bucket=1):
    """By the definition, a pair at a time: j ended, same group, and i got further, whether it ended or not."""
    return groups[i] == groups[j] and complete[j] and tokens[i] // bucket > tokens[j] // bucket


@pytest.mark.parametrize("bucket", [1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_known_pairs_are_those_whose_order_is_certain(seed, bucket):
    """Every pair of every list agrees with the definition, for cut rows, several groups and buckets."""
    scores, tokens, complete, groups = a_list(seed)
    _, *rest = tensors(scores, tokens, complete, groups)
    longer = known_longer(*rest, bucket)
    for i in range(len(tokens)):
        for j in range(len(tokens)):
            assert longer[i, j].item() == is_longer(i, j, tokens, complete, groups, bucket)


def test_a_longer_answer_after_the_cut_changes_no_known_pair():
    """Whatever a cut row would have come to, no pair that counts is turned round by it."""
    scores, tokens, complete, groups = a_list(3, groups=1)
    _, *rest = tensors(scores, tokens, complete, groups)
    longer = known_longer(*rest)
    truth = [
        t if c else t + random.Random(i).randint(0, 50) for i, (t, c) in enumerate(zip(tokens, complete, strict=True))
    ]
    assert longer.any()
    for i, j in longer.nonzero().tolist():
        assert truth[i] > truth[j]


def slow_list_mle(scores, known, shortest_first):
    terms = []
    sign = -1 if shortest_first else 1
    for i in range(len(scores)):
        rivals = [j for j in range(len(scores)) if (known(j, i) if shortest_first else known(i, j))]
        if rivals:
            total = sum(math.exp(sign * scores[j]) for j in [i, *rivals])
            terms.append(math.log(total) - sign * scores[i])
    return sum(terms) / len(terms)


@pytest.mark.parametrize("shortest_first", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_list_mle_matches_the_written_formula(seed, shortest_first):
    """With ties, cut rows and two groups the loss is the documented sum, taken term by term."""
    scores, tokens, complete, groups = a_list(seed)
    s, *rest = tensors(scores, tokens, complete, groups)
    expected = slow_list_mle(scores, lambda i, j: is_longer(i, j, tokens, complete, groups), shortest_first)
    got = list_mle(s, known_longer(*rest), shortest_first=shortest_first)
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_list_mle_is_the_published_one_without_ties_and_cuts():
    """Then it is the Plackett-Luce likelihood of the true permutation: the product of softmaxes over what is left."""
    random_ = random.Random(1)
    tokens = random_.sample(range(1, 500), 20)
    scores = [random_.gauss(0, 1) for _ in tokens]
    order = sorted(range(20), key=lambda i: -tokens[i])
    likelihood = 1.0
    for place, i in enumerate(order):
        likelihood *= math.exp(scores[i]) / sum(math.exp(scores[j]) for j in order[place:])
    s, *rest = tensors(scores, tokens, [True] * 20, [0] * 20)
    # The last of a list has no rival and adds nothing to the sum; the mean is over the other 19.
    assert list_mle(s, known_longer(*rest)).item() == pytest.approx(-math.log(likelihood) / 19, rel=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_pairwise_matches_a_loop_over_pairs(seed, margin):
    """The loss is the mean over exactly the known pairs."""
    scores, tokens, complete, groups = a_list(seed)
    n = range(len(scores))
    pairs = [(i, j) for i in n for j in n if is_longer(i, j, tokens, complete, groups)]
    expected = sum(math.log1p(math.exp(margin - scores[i] + scores[j])) for i, j in pairs) / len(pairs)
    s, *rest = tensors(scores, tokens, complete, groups)
    assert pairwise_logistic(s, known_longer(*rest), margin).item() == pytest.approx(expected, rel=1e-12)


def test_log_normal_matches_density_and_survival():
    """A complete row counts by the density of its log length, a cut one by the probability of exceeding it."""
    scipy_stats = pytest.importorskip("scipy.stats")
    random_ = random.Random(4)
    n = 12
    mean = [random_.gauss(4, 1) for _ in range(n)]
    spread = [math.exp(random_.gauss(-0.5, 0.3)) for _ in range(n)]
    logs = [random_.gauss(4, 1) for _ in range(n)]
    complete = [i % 3 > 0 for i in range(n)]
    expected = 0.0
    for m, s, x, ended in zip(mean, spread, logs, complete, strict=True):
        law = scipy_stats.norm(m, s)
        expected -= (law.logpdf(x) if ended else law.logsf(x)) / n
    real = [torch.tensor(v, dtype=torch.float64) for v in (mean, spread, logs)]
    assert log_normal(*real, torch.tensor(complete)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_likely_longer_is_near_the_probability_of_the_order(seed):
    """Over exactly the known pairs, the mean -log probability that log-normal lengths come in that order."""
    scipy_stats = pytest.importorskip("scipy.stats")
    random_ = random.Random(seed)
    mean, tokens, complete, groups = a_list(seed)
    spread = [math.exp(random_.gauss(0.3, 0.3)) for _ in mean]
    n = range(len(mean))
    exact, formula = [], []
    for i, j in ((i, j) for i in n for j in n if is_longer(i, j, tokens, complete, groups)):
        z = (mean[i] - mean[j]) / math.hypot(spread[i], spread[j])
        exact.append(scipy_stats.norm.cdf(z))
        formula.append(math.log1p(math.exp(-1.702 * z)))
    m, *rest = tensors(mean, tokens, complete, groups)
    got = likely_longer(m, torch.tensor(spread, dtype=torch.float64), known_longer(*rest)).item()
    assert got == pytest.approx(sum(formula) / len(formula), rel=1e-12)
    assert max(abs(math.exp(-f) - p) for f, p in zip(formula, exact, strict=True)) < 0.0101


@pytest.mark.parametrize("shortest_first", [False, True])
def test_a_cut_row_still_teaches(shortest_first):
    """A cut row pushes its score up, never down, in each of the losses: it is used, and only as a lower bound."""
    scores = torch.tensor([0.0, 0.5, 1.0, -1.0], requires_grad=True)
    tokens, complete = torch.tensor([50.0, 80.0, 20.0, 60.0]), torch.tensor([True, True, True, False])
    longer = known_longer(tokens, complete, torch.zeros(4, dtype=torch.int64))
    for loss in (
        list_mle(scores, longer, shortest_first=shortest_first),
        pairwise_logistic(scores, longer),
        likely_longer(scores, torch.ones(4), longer),
        log_normal(scores, torch.ones(4), torch.log(tokens), complete),
    ):
        (gradient,) = torch.autograd.grad(loss, scores)
        assert gradient[3] < 0


def test_losses_stay_finite_at_the_extremes():
    """Scores far apart, a list of no known order and a row cut far beyond its mean give finite losses and gradients."""
    scores = torch.tensor([1e4, -1e4, 0.0, 30.0], requires_grad=True)
    tokens, complete = torch.tensor([1.0, 1000.0, 7.0, 9.0]), torch.tensor([True, True, False, True])
    known = known_longer(tokens, complete, torch.zeros(4, dtype=torch.int64))
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    spread = spread_of(torch.tensor([-1e6, 1e6, 0.0, 1.0], requires_grad=True))
    for loss in (
        list_mle(scores, known),
        list_mle(scores, nothing),
        pairwise_logistic(scores, known),
        pairwise_logistic(scores, nothing),
        likely_longer(scores, spread, known),
        likely_longer(scores, spread, nothing),
        log_normal(scores, spread, torch.log(tokens), complete),
    ):
        (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    assert list_mle(scores, nothing) == 0
