import io

import matplotlib as mpl
import pytest
from PIL import Image

from tests.evaluation.examples import (
    LABELS,
    TYPES,
    class_predictions,
    class_rows,
    tagged,
    tagging,
)
from vertiform.evaluation.curves import plot_records
from vertiform.evaluation.plots import confusion_picture, pictures, precision_recall_picture


@pytest.fixture(scope="module")
def records():
    rows = class_rows(60, seed=0)
    predictions = class_predictions(rows, skill=0.3, seed=1)
    return plot_records("classification", rows, predictions, labels=LABELS)


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


@pytest.fixture(scope="module")
def drawn(records):
    return pictures(records, labels=LABELS, title="area")


def test_every_plot_is_a_picture_that_fits_a_page(records, drawn):
    assert drawn.keys() == records.keys()
    for png in drawn.values():
        assert all(300 < side < 1600 for side in size_of(png))


def test_the_same_records_give_the_same_bytes_and_change_no_global(records, drawn):
    before = dict(mpl.rcParams)
    assert pictures(records, labels=LABELS, title="area") == drawn
    assert dict(mpl.rcParams) == before


def test_no_version_or_time_is_written_into_a_picture(drawn):
    with Image.open(io.BytesIO(drawn["confusion"])) as image:
        assert set(image.info) <= {"dpi"}


def test_a_tagging_without_any_entity_can_be_drawn():
    records = plot_records("entities", [tagged("O O")], [tagging("O O")], labels=TYPES)
    assert pictures(records, labels=TYPES, title="entities").keys() == records.keys()


def test_many_classes_with_long_names_still_fit():
    labels = [f"a class with a rather long name, number {i}" for i in range(40)]
    confusion = [{"actual": label, "predicted": labels[0]} for label in labels]
    assert max(size_of(confusion_picture(confusion, labels=labels, title="many"))) < 2400
    curve = [
        {"recall": r / 10, "precision": 0.5}
        | {f"precision of {label}": 1 / (i + 1) for i, label in enumerate(labels)}
        for r in range(11)
    ]
    assert max(size_of(precision_recall_picture(curve, labels=labels, title="many"))) < 1600
