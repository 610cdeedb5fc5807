"""What stands beside a comparison: figures against counting by hand, words against figures, JSON."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from leadscore.evaluation.compare import judge
from leadscore.evaluation.evidence import Optimism, evidence
from leadscore.evaluation.head_to_head import head_to_head
from leadscore.evaluation.reliability import reliability, top_promise


def judged(rate=(0.1, 0.3, 0.5), rows=300, seed=0, apart=40):
    """Three folds with rates of their own, on some of the rows of a larger X; ties among the chances."""
    rng = np.random.default_rng(seed)
    row = np.sort(rng.permutation(rows + apart)[:rows])
    fold = np.repeat([f"period {k + 1}" for k in range(len(rate))], rows // len(rate))
    chance = np.repeat(rate, rows // len(rate))
    lift = rng.choice([0.5, 1.0, 1.5], rows)
    y = (rng.random(rows) < chance * lift).astype(int)
    said = {"points": np.round(rng.uniform(0.05, 0.95, rows), 1), "model": np.clip(chance * lift, 0, 0.99)}
    predictions = pd.DataFrame({"row": row, "fold": fold, "y": y, **said})
    group = np.arange(rows + apart) // 2
    return judge(predictions, group=group, draws=20), group


def auc(y, p):
    """Count the pairs of a win and a loss that stand the right way round; a tie is half a pair."""
    pairs = [(a > b) + (a == b) / 2 for a in p[y == 1] for b in p[y == 0]]
    return sum(pairs) / len(pairs)


@pytest.fixture(scope="module")
def found():
    comparison, group = judged()
    period = np.arange(len(group)) // 50
    optimism = Optimism("model", random=0.91, forward=0.84)
    return (
        comparison,
        group,
        period,
        evidence(comparison, group=group, period=period, share=0.2, optimism=optimism),
    )


def test_the_auc_within_folds_is_the_mean_of_pairs_counted_fold_by_fold(found):
    comparison, _, _, beside = found
    seen = comparison.predictions
    for name in comparison.models:
        parts = [auc(part["y"].to_numpy(), part[name].to_numpy()) for _, part in seen.groupby("fold")]
        assert beside.within[name] == pytest.approx(np.mean(parts), abs=1e-12)
    # pooled, the model's AUC is higher: it knows the rate of each period
    assert comparison.value("roc_auc", "model") > beside.within["model"] + 0.02


def test_folds_with_one_outcome_are_passed_over_and_without_any_other_there_is_no_figure():
    comparison, group = judged(rate=(0.0, 0.4, 0.0))
    seen = comparison.predictions
    inside = seen[seen["fold"] == "period 2"]
    beside = evidence(comparison, group=group, share=0.2)
    assert beside.within["points"] == pytest.approx(auc(inside["y"].to_numpy(), inside["points"].to_numpy()))
    apart = seen.assign(fold=np.where(seen["y"] == 1, "won", "lost"))
    comparison = judge(apart, group=group, draws=20)
    assert math.isnan(evidence(comparison, group=group, share=0.2).within["model"])


def test_each_part_is_that_of_the_tested_rows(found):
    comparison, group, period, beside = found
    seen = comparison.predictions
    row, y = seen["row"].to_numpy(), seen["y"].to_numpy(float)
    chances = {name: seen[name].to_numpy() for name in comparison.models}
    chosen = chances[comparison.chosen]
    assert beside.reliability.to_dict() == reliability(y, chosen, group=group[row]).to_dict()
    assert beside.top == top_promise(y, chosen, group=group[row])
    other = head_to_head(
        y, chances, baseline="points", share=0.2, period=period[row], group=group[row], seed=0
    )
    assert beside.head_to_head.to_dict() == other.to_dict()
    assert beside.head_to_head.periods == len(np.unique(period[row]))


def test_the_chances_are_those_of_the_chosen_model(found):
    comparison, group, _, beside = found
    assert comparison.chosen == "model"
    seen = comparison.predictions
    assert beside.reliability.promised == pytest.approx(seen["model"].mean())
    taken = judge(seen, group=group, draws=20, not_to_take=("model",))
    assert taken.chosen == "points"
    other = evidence(taken, group=group, share=0.2)
    assert other.reliability.promised == pytest.approx(seen["points"].mean())


def test_the_sentences_hold_the_figures(found):
    comparison, group, _, beside = found
    *others, inside, optimism = beside.sentences
    assert others == [*beside.head_to_head.sentences, beside.reliability.sentence, beside.top.sentence]
    for name, value in beside.within.items():
        assert f"{name} {value:.3f}" in inside
    assert optimism == (
        "optimism: a random split would have promised an AUC of 0.910 for model; forward in time it is 0.840 "
        "(-0.070)"
    )
    assert len(evidence(comparison, group=group, share=0.2).sentences) == len(beside.sentences) - 1
    assert all("\n" not in sentence for sentence in beside.sentences)


def test_a_random_split_that_promises_less_is_said_with_its_sign():
    assert Optimism("m", random=0.8, forward=0.85).sentence.endswith("is 0.850 (+0.050)")


def test_everything_is_strict_json(found):
    comparison, group, _, beside = found
    written = json.loads(json.dumps(beside.to_dict(), allow_nan=False))
    assert set(written) == {"head_to_head", "reliability", "top", "within", "optimism"}
    assert written["optimism"] == {"model": "model", "random": 0.91, "forward": 0.84}
    assert written["within"] == dict(beside.within)
    with_money = evidence(comparison, group=group, capacity=20.0, value=900.0, cost=40.0)
    plain = json.loads(json.dumps(with_money.to_dict(), allow_nan=False))
    assert plain["optimism"] is None
    assert plain["head_to_head"]["capacity"] == "20 leads"
