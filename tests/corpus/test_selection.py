"""Examples are taken in turns, and near-copies are told apart from chance."""

from vertiform.corpus.selection import alternate, alternate_by_key, near_copies, order_of


def test_turns_go_round_until_every_queue_is_empty():
    assert alternate([["a1", "a2", "a3"], [], ["b1"]]) == ["a1", "b1", "a2", "a3"]
    assert alternate([]) == []


def test_turns_follow_the_keys_whatever_the_order_of_insertion():
    assert alternate_by_key({"b": ["b1"], "a": ["a1", "a2"]}) == ["a1", "b1", "a2"]


def test_the_order_of_keys_is_the_same_on_every_machine():
    assert sorted("abcde", key=order_of) == ["e", "c", "a", "b", "d"]


def test_near_copies_share_a_long_run_or_all_of_a_short_text():
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    earlier = [("a", long), ("b", "a short but whole sentence"), ("c", "too short")]
    texts = [f"so {long}", "then a short but whole sentence follows", "this is too short", "other"]
    assert near_copies(texts, of=earlier) == {0, 1}
