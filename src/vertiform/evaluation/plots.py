"""Pictures of an evaluation, drawn from the records of curves.py. PNG bytes, no pyplot.

The same records give the same bytes with one version of matplotlib; nothing global is read into
the file or changed.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vertiform.evaluation.curves import (
    CONFUSION,
    POOLED,
    PRECISION_RECALL,
    RELIABILITY,
    Records,
    precision_of,
)
from vertiform.evaluation.mistakes import NOTHING

_DOTS_PER_INCH = 120
_INK, _FAINT, _ACCENT, _GAP = "#1f2933", "#9aa5b1", "#1f6fb2", "#e07b39"
# Okabe & Ito 2008: told apart by colour-blind readers too. More lines than these cannot be.
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31", "#7f3fbf")
_NUM_WEAKEST = 3  # named, where there are more classes than that
_MAX_COUNTED_CLASSES = 30  # cells smaller than that cannot hold a number
_MAX_LABEL_CHARACTERS = 24
_TRIM = {"bbox_inches": "tight", "pad_inches": 0.15}


def pictures(
    records: Mapping[str, Records], *, labels: Sequence[str], title: str
) -> dict[str, bytes]:
    """Draw every plot that plot_records gives; returns PNG bytes by the plot's name."""
    drawn = {
        CONFUSION: confusion_picture(records[CONFUSION], labels=labels, title=title),
        RELIABILITY: reliability_picture(records[RELIABILITY], title=title),
        PRECISION_RECALL: precision_recall_picture(
            records[PRECISION_RECALL], labels=labels, title=title
        ),
    }
    return {name: drawn[name] for name in records}


def confusion_picture(records: Records, *, labels: Sequence[str], title: str) -> bytes:
    """Draw how often each class was taken for which: counts, shaded by the share of their row."""
    counts = Counter((record["actual"], record["predicted"]) for record in records)
    shown = [*labels, NOTHING] if any(NOTHING in pair for pair in counts) else list(labels)
    matrix = np.array([[counts[a, p] for p in shown] for a in shown], dtype=np.float64)
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)

    holds_counts = len(shown) <= _MAX_COUNTED_CLASSES
    side = 1.5 + (0.42 if holds_counts else 0.2) * len(shown)  # inches
    figure = _figure(side + 1, side)
    axes = _axes(figure.add_subplot(), f"{title}: confusion")
    # The square root shows a confusion of a few percent, which is what one looks for.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    names = [_short(label) for label in shown]
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    if holds_counts:
        _write_counts(axes, matrix, share)
    scale = axes.inset_axes((1.02, 0, 0.15 / (0.42 * len(shown)), 1))
    figure.colorbar(image, cax=scale, ticks=[0, 0.05, 0.2, 0.5, 1])
    _axes(scale, "").set_ylabel("share of the actual class")
    return _png(figure)


def precision_recall_picture(records: Records, *, labels: Sequence[str], title: str) -> bytes:
    """Draw precision over recall: all classes pooled, and each class behind it.

    Of many classes only the weakest are named, by their mean precision over all recalls.
    """
    curves = {label: _numbers(records, precision_of(label)) for label in labels}
    named = list(labels)
    if len(labels) > len(_LINES):
        strength = {label: float(np.nan_to_num(curve).mean()) for label, curve in curves.items()}
        named = sorted(labels, key=lambda label: strength[label])[:_NUM_WEAKEST]
    figure = _figure(7.2, 4.8)
    axes = _axes(figure.add_subplot(), f"{title}: precision over recall")
    recall = _numbers(records, "recall")
    axes.plot(recall, _numbers(records, POOLED), color=_INK, lw=2.6, label="all together", zorder=3)
    for label, color in zip(named, _LINES, strict=False):
        axes.plot(recall, curves[label], color=color, lw=1.4, label=_short(label))
    others = [label for label in labels if label not in named]
    for i, label in enumerate(others):
        name = f"{len(others)} stronger" if i == 0 else None
        axes.plot(recall, curves[label], color=_FAINT, lw=0.8, alpha=0.6, zorder=1, label=name)
    _unit_square(axes, "recall", "precision")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=_INK)
    return _png(figure)


def reliability_picture(records: Records, *, title: str) -> bytes:
    """Draw accuracy over confidence by bin, the gap to the diagonal, and how many stand in each."""
    figure = _figure(5.2, 6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    low, high, confidence, accuracy, predictions = (
        _numbers(records, key)
        for key in ("confidence_low", "confidence_high", "confidence", "accuracy", "predictions")
    )
    error = np.abs(accuracy - confidence) @ predictions / max(1.0, predictions.sum())
    _axes(above, f"{title}: reliability\nexpected calibration error {error:.3f}")
    bar = {"width": high - low, "align": "edge"}
    above.bar(low, accuracy, color=_ACCENT, edgecolor="white", label="accuracy", **bar)
    above.bar(
        low,
        np.abs(confidence - accuracy),
        bottom=np.minimum(accuracy, confidence),
        facecolor="none",
        edgecolor=_GAP,
        hatch="////",
        linewidth=0.8,
        label="gap to confidence",
        **bar,
    )
    above.plot([0, 1], [0, 1], color=_INK, linestyle="--", lw=1.2, label="well calibrated")
    _unit_square(above, "", "accuracy")
    below.bar(low, predictions, color=_FAINT, edgecolor="white", **bar)
    _axes(below, "")
    below.set_xlabel("confidence")
    below.set_ylabel("predictions")
    figure.legend(
        *above.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=_INK,
    )
    return _png(figure)


def _figure(width_inches: float, height_inches: float) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(axes: Axes, title: str) -> Axes:
    """Give the axes their title and take the frame away."""
    axes.set_title(title, loc="left", color=_INK, fontweight="bold", fontsize=11, pad=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    return axes


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _write_counts(axes: Axes, matrix: NDArray, share: NDArray) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axes.text(
                column,
                row,
                f"{count:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share[row, column] > 0.3 else _INK,
            )


def _numbers(records: Records, key: str) -> NDArray[np.float64]:
    """Return a column of the records; None becomes NaN, which leaves a gap."""
    return np.array([record[key] for record in records], dtype=np.float64)


def _short(label: str) -> str:
    if len(label) <= _MAX_LABEL_CHARACTERS:
        return label
    return label[: _MAX_LABEL_CHARACTERS - 3] + "..."


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # No Software entry: matplotlib's version would change the bytes of an unchanged picture.
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None}, **_TRIM)
    return file.getvalue()
