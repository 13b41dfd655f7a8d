from vertiform.inference.timing import request_milliseconds


class Slow:
    """Answers nothing, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def predict(self, texts: list[str]) -> list[dict]:
        self.sent.append(texts)
        return [{}]


def test_texts_are_sent_one_at_a_time_in_turn_and_the_first_are_not_counted():
    slow = Slow()
    found = request_milliseconds(slow, ["a", "b"], num_requests=3, num_warm_up=2)  # type: ignore[arg-type]
    assert slow.sent == [["a"], ["b"], ["a"], ["b"], ["a"]]
    assert len(found) == 3
    assert all(milliseconds > 0 for milliseconds in found)
