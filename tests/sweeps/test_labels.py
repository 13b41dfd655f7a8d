from vertiform.sweeps.labels import parameters_text, short_names, value_text


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


def test_values_are_written_as_an_override_would():
    values = (None, True, 0.00031622776, 1e-05, 12, "adamw", "two\nlines", 0.1)
    assert [value_text(value) for value in values] == [
        *("null", "true", "0.000316", "1e-05", "12", "adamw", "two lines", "0.1"),
    ]


def test_parameters_fit_in_one_line():
    params = {"optimizer.lr": 0.0003, "model.dropout": 0.1}
    assert parameters_text(params, short_names(params)) == "lr 0.0003, dropout 0.1"
