import pytest

from vertiform.evaluation import names


def all_names() -> list[str]:
    """Every name of the module, scores of both splits in full."""
    constants = [v for k, v in vars(names).items() if k.isupper() and isinstance(v, str)]
    full = {name for name in constants if "/" in name}
    return [*full, *(names.on("test", score) for group in names.SCORES.values() for score in group)]


def test_a_score_has_one_name_under_both_words_for_a_split():
    assert names.on("validation", names.F1_MACRO) == names.on("val", names.F1_MACRO)
    assert names.on("validation", names.F1_MACRO) == names.VAL_F1_MACRO == "val/f1_macro"


def test_each_score_belongs_to_one_kind_of_task():
    scores = [score for group in names.SCORES.values() for score in group]
    assert len(scores) == len(set(scores))


def test_the_main_score_of_a_kind_is_one_of_its_scores():
    assert all(names.MAIN_SCORE[kind] in scores for kind, scores in names.SCORES.items())


@pytest.mark.parametrize(
    "metric",
    [
        *("calibration_error", "test/entity_calibration_error", "val/nats_per_token"),
        *("best/val/loss_nats", "val/nats_per_token/general", "val/perplexity"),
        *("speed/data_wait_fraction", "memory/peak_bytes", "speed/latency_p95_seconds"),
    ],
)
def test_less_is_better_of_an_error_a_loss_and_a_cost(metric):
    assert names.is_lower_better(metric)


@pytest.mark.parametrize(
    "metric",
    [
        *("test/f1_macro", "best/val/entity_f1", "val/accuracy", "speed/tokens_per_second"),
        *("speed/model_flops_per_second", "val/entity_roc_auc"),
        *("f1/seconds", "test/f1/calibration_error", "precision/loss"),  # names of classes
    ],
)
def test_more_is_better_of_a_score_and_of_a_speed_whatever_the_class_is_called(metric):
    assert not names.is_lower_better(metric)


def test_a_name_says_when_and_what_in_lower_case():
    for name in all_names():
        when, _, what = name.partition("/")
        assert when in ("train", "val", "test", "speed", "memory", "system", "energy"), name
        assert what.replace("_", "").isalnum(), name
        assert what.islower(), name
