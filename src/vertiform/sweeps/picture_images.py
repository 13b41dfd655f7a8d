"""A study's pictures as PNG: what Optuna draws with matplotlib, made readable.

The same study gives the same bytes with one version of matplotlib, and no global setting of it
changes.
"""

import io

import matplotlib as mpl
import numpy as np
import optuna.visualization.matplotlib as visualization
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from vertiform.sweeps.best import best_of
from vertiform.sweeps.picture_plan import (
    HISTORY,
    IMPORTANCES,
    INTERMEDIATE,
    PARALLEL,
    SLICE,
    Picture,
)

INK, FAINT, LINES = "#1f2933", "#b8c2cc", "#e4e7eb"
BLUE, RED, ORANGE = "#1f6fb2", "#c8312b", "#e07b39"
_DOTS_PER_INCH = 110
_DECADES_ALONE = 200  # of the highest to the lowest: more than two decades need no numbers between


def png_of(picture: Picture) -> bytes:
    """Draw one picture."""
    # Optuna draws with pyplot: its canvas must not be a window, and it sets a style for all.
    pyplot.switch_backend("agg")
    with mpl.rc_context():
        figure = np.ravel(picture.drawn_by(visualization))[0].figure
        try:
            _make_readable(figure, picture)
            return _png(figure)
        finally:
            pyplot.close(figure)


def line_styles(picture: Picture) -> dict[str, tuple[str, float, int]]:
    """Return the colour, width and height (what covers what) of each trial's line as it trained.

    They go by Optuna's label for the line, "Trial7".
    """
    styles = {
        TrialState.COMPLETE: (BLUE, 1.2, 3),
        TrialState.PRUNED: (FAINT, 1.0, 1),
        TrialState.RUNNING: (ORANGE, 1.2, 2),
    }
    trials = picture.study.get_trials(deepcopy=False)
    found = {f"Trial{t.number}": styles[t.state] for t in trials if t.state in styles}
    best = best_of(trials, picture.study.directions)
    return found | {f"Trial{trial.number}": (RED, 2.4, 4) for trial in best}


def _make_readable(figure: Figure, picture: Picture) -> None:
    for axes in figure.axes:
        _calm(axes)
    if picture.kind == HISTORY:
        _step_the_best(figure.axes[0])
    elif picture.kind == IMPORTANCES:
        _without_legend(figure.axes[0])
        figure.axes[0].set(xlabel="importance", ylabel="")
    elif picture.kind == SLICE:
        _widen_slices(figure, picture)
    elif picture.kind == PARALLEL:
        _widen_lines(figure)
    elif picture.kind == INTERMEDIATE:
        figure.set_size_inches(7.5, 4.8)
        _mark_trials(figure.axes[0], picture)
    style = {"ha": "left", "color": INK, "fontweight": "bold", "fontsize": 12}
    figure.suptitle(picture.title, x=0.02, y=0.99, **style)


def _calm(axes: Axes) -> None:
    """Take away Optuna's title and the grey behind, and write numbers plainly."""
    for where in ("left", "center"):
        axes.set_title("", loc=where)
    axes.set_facecolor("white")
    axes.grid(color=LINES, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=10)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            _label_decades(axis)


def _label_decades(axis: Axis) -> None:
    """Label powers of ten, and 2 and 5 between them where there are few."""
    low, high = axis.get_view_interval()
    steps = (1,) if high / low > _DECADES_ALONE else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=steps, numticks=4))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _step_the_best(axes: Axes) -> None:
    """The best stays what it was until a trial beats it; Optuna's line climbs towards that."""
    for line in axes.get_lines():
        line.set(drawstyle="steps-post", color=RED, alpha=1.0, label="best so far", zorder=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, labelcolor=INK)


def _widen_slices(figure: Figure, picture: Picture) -> None:
    """Give choices room beside their first and last, and their labels a slope."""
    params = sorted(picture.options["params"])
    figure.set_size_inches(2.6 * len(params) + 1.2, 4.2)
    for axes, name in zip(figure.axes, params, strict=False):  # the last is the colour's scale
        kinds = [t.distributions[name] for t in picture.study.trials if name in t.distributions]
        if isinstance(kinds[0], CategoricalDistribution):
            ticks = axes.get_xticks()
            labels = [text.get_text().strip("'") for text in axes.get_xticklabels()]
            axes.set_xlim(-0.5, len(ticks) - 0.5)
            axes.set_xticks(ticks, labels, rotation=30, ha="right", rotation_mode="anchor")
        elif axes.get_xscale() == "log":
            axes.tick_params(axis="x", rotation=30)


def _widen_lines(figure: Figure) -> None:
    """Make room between the dimensions, and the worst trials' lines dark enough to be seen."""
    first = figure.axes[0]
    figure.set_size_inches(1.7 * len(figure.axes) + 1, 5)
    for axes in figure.axes:
        axes.grid(visible=False)
        for label in axes.get_yticklabels():
            label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8})
    labels = [text.get_text() for text in first.get_xticklabels()]
    slope = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
    first.set_xticks(first.get_xticks(), labels, **slope)
    lines = first.collections[0]
    shades = mpl.colormaps["Blues"](np.linspace(0.25, 1, 256))
    is_reversed = lines.get_cmap().name.endswith("_r")
    lines.set_cmap(ListedColormap(shades[::-1] if is_reversed else shades))


def _mark_trials(axes: Axes, picture: Picture) -> None:
    """Colour each trial by how it ended; without a legend, which would be longer than the chart."""
    _without_legend(axes)
    styles = line_styles(picture)
    for line in axes.get_lines():
        color, width, height = styles[str(line.get_label())]
        line.set(color=color, linewidth=width, zorder=height, alpha=1.0)
    axes.set_ylabel(picture.objective)


def _without_legend(axes: Axes) -> None:
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # No Software entry: matplotlib's version would change the bytes of an unchanged picture.
    figure.savefig(
        file,
        format="png",
        dpi=_DOTS_PER_INCH,
        metadata={"Software": None},
        bbox_inches="tight",
        pad_inches=0.15,
        facecolor="white",
    )
    return file.getvalue()
