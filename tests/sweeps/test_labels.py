from vertiform.sweeps.labels import (
    digits_after_the_point,
    parameters_text,
    short_names,
    value_text,
)


def test_a_name_is_the_shortest_end_of_a_key_that_no_other_shares():
    assert short_names(["optimizer.lr", "model.dropout", "optimizer"]) == {
        "optimizer.lr": "lr",
        "model.dropout": "dropout",
        "optimizer": "optimizer",
    }
    both = ["optimizer.lr", "starts.domain.optimizer.lr", "starts.scratch.optimizer.lr"]
    assert list(short_names(both).values()) == [
        "optimizer.lr",
        "domain.optimizer.lr",
        "scratch.optimizer.lr",
    ]


def test_no_two_keys_get_one_name():
    keys = ["a.b", "b", "c.a.b", "c.b", "b.b", "a.b.b"]
    assert len(set(short_names(keys).values())) == len(keys)


def test_a_key_of_a_branch_keeps_its_branch():
    keys = ["starts.domain.optimizer.lr (starts.domain.optimizer=muon)", "budget.epochs"]
    assert list(short_names(keys).values()) == ["epochs", "lr (optimizer=muon)"]
    both = ["model.lr (model.dropout=0.1)", "model.lr (model.dropout=0.25)"]
    assert list(short_names(both).values()) == ["lr (dropout=0.1)", "lr (dropout=0.25)"]


def test_values_are_written_as_an_override_would():
    values = (None, True, 0.00031622776, 1e-05, 12, "adamw", "two\nlines", 0.1)
    assert [value_text(value) for value in values] == [
        *("null", "true", "0.000316", "1e-05", "12", "adamw", "two lines", "0.1"),
    ]


def test_parameters_fit_in_one_line():
    params = {"optimizer.lr": 0.0003, "model.dropout": 0.1}
    assert parameters_text(params, short_names(params)) == "lr 0.0003, dropout 0.1"


def test_an_interval_is_written_with_two_digits_of_its_width():
    widths = {20.0: 1, 2.0: 1, 0.2: 2, 0.02: 3, 0.002: 4, 0.0: 6}
    assert {width: digits_after_the_point(0, width) for width in widths} == widths
