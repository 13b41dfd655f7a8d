"""Times a predictor as a caller would see it: one request at a time."""

import itertools
import time
from collections.abc import Sequence

from vertiform.inference.predictor import Predictor
from vertiform.progress import progress


def request_milliseconds(
    predictor: Predictor, texts: Sequence[str], *, num_requests: int, num_warm_up: int
) -> list[float]:
    """Send texts one at a time, in turn, and time each; the first num_warm_up are not counted."""
    sent = itertools.islice(itertools.cycle(texts), num_warm_up + num_requests)
    found = []
    for text in progress(
        sent, what="timing requests", unit="requests", total=num_warm_up + num_requests
    ):
        start = time.perf_counter()
        # An answer of a GPU is on the CPU when it is given back, so the clock sees all of it.
        predictor.predict([text])
        found.append(1000 * (time.perf_counter() - start))
    return found[num_warm_up:]
