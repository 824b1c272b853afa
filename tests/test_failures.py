"""Why trainings failed: counted, and in words."""

import pytest

import skipsearch as ss
from skipsearch.analysis.failures import failure_reasons, failures_in_words
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, Trial

MEMORY = "torch.OutOfMemoryError: CUDA out of memory (8 images at once hold up to 2 GB)"
NAN = "the loss became nan in epoch 2 of 3 (peak_lr 1)"


def trial(number: int, state: str, reason: str = "") -> Trial:
    return Trial(
        number=number,
        design=ss.Design(layout="conv3-bn + relu"),
        recipe=ss.Recipe(),
        seed=0,
        state=state,
        reason=reason,
        curve=(),
        params=1,
        macs=1,
        device="cpu",
        versions={},
    )


def test_nothing_is_said_where_nothing_failed() -> None:
    reasons = failure_reasons([trial(0, COMPLETE), trial(1, PRUNED)])
    assert reasons.empty
    assert failures_in_words(reasons) == ""


def test_reasons_are_counted_the_most_frequent_first() -> None:
    later = "the loss became nan in epoch 3 of 3 (peak_lr 0.5)"
    trials = [
        trial(0, FAIL, NAN),
        trial(1, FAIL, MEMORY),
        trial(2, FAIL, later),
        trial(3, COMPLETE),
    ]
    reasons = failure_reasons([*trials, trial(4, FAIL, INTERRUPTED)])
    short = ["the loss became nan", "torch.OutOfMemoryError: CUDA out of memory"]
    assert reasons.to_dict("list") == {"reason": short, "trainings": [2, 1]}
    assert failures_in_words(reasons) == f"3 trainings failed: {short[0]} (2); {short[1]} (1)."


@pytest.mark.parametrize(
    ("number", "end"), [(3, "c (1)."), (4, "1 other reason."), (6, "3 other reasons.")]
)
def test_a_sentence_names_three_reasons(number: int, end: str) -> None:
    reasons = failure_reasons(trial(i, FAIL, "abcdef"[i]) for i in range(number))
    assert failures_in_words(reasons).endswith(f"; {end}")
