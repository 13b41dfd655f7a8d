"""A study's pictures on one page: plotly's figures, its script once, and a sentence to each."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

import optuna.visualization as visualization
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from vertiform.sweeps.picture_images import BLUE, RED, line_styles
from vertiform.sweeps.picture_plan import (
    HISTORY,
    IMPORTANCES,
    INTERMEDIATE,
    PARALLEL,
    PARETO,
    SLICE,
    LeftOut,
    Picture,
)

_STYLE = """
:root { --ink: #1f2933; --quiet: #616e7c; --line: #dde3ea; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 32px; color: var(--ink); background: #fff;
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 12px; font-size: 22px; font-weight: 650; }
h2 { margin: 0; font-size: 17px; font-weight: 650; }
p, li { margin: 4px 0; color: var(--quiet); max-width: 76ch; }
section { border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px; margin: 16px 0; }
.chart { overflow-x: auto; }
"""
_MOST_AXES = 9  # of trials as a whole that fit on the page; with more one scrolls
_FONT = {"family": 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', "color": "#1f2933"}


def page_of(planned: Sequence[Picture | LeftOut], *, title: str) -> str:
    """Write the page as text. It names no other file and no address."""
    pictures = [picture for picture in planned if isinstance(picture, Picture)]
    left_out = [picture for picture in planned if isinstance(picture, LeftOut)]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>",
            f"<script>{get_plotlyjs()}</script>\n</head>\n<body>",
            f"<h1>{html.escape(title)}</h1>",
            *map(_section, pictures),
            _left_out(left_out),
            "</body>\n</html>\n",
        ]
    )


def _section(picture: Picture) -> str:
    figure = picture.drawn_by(visualization)
    _make_readable(figure, picture)
    chart = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=picture.name,
        config={"displaylogo": False, "responsive": True},
    )
    return (
        f"<section>\n<h2>{html.escape(picture.title)}</h2>\n<p>{html.escape(picture.sentence)}</p>"
        f'\n<div class="chart">{chart}</div>\n</section>'
    )


def _left_out(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    lines = "\n".join(
        f"<li>{html.escape(picture.title)}: {html.escape(picture.reason)}.</li>"
        for picture in left_out
    )
    return f"<section>\n<h2>Left out</h2>\n<ul>\n{lines}\n</ul>\n</section>"


def _make_readable(figure: Figure, picture: Picture) -> None:
    figure.update_layout(
        template="plotly_white", title=None, margin={"t": 24, "b": 60}, font=_FONT, width=None
    )
    figure.update_xaxes(exponentformat="power")  # not 100 with a Greek letter for a rate
    if picture.kind == HISTORY:
        figure.update_traces(marker={"color": BLUE}, selector={"mode": "markers"})
        best = {"line": {"color": RED, "shape": "hv"}, "name": "best so far"}
        figure.update_traces(best, selector={"mode": "lines"})
    elif picture.kind == IMPORTANCES:
        figure.update_traces(marker={"color": BLUE})
        figure.update_layout(xaxis_title="importance", yaxis_title=None, showlegend=False)
    elif picture.kind == SLICE:
        _unquote_choices(figure)
    elif picture.kind == PARALLEL:
        num_axes = len(picture.options["params"]) + len(picture.study.directions)
        figure.update_layout(width=None if num_axes <= _MOST_AXES else 130 * num_axes)
    elif picture.kind == PARETO:
        figure.update_layout(height=620)
    elif picture.kind == INTERMEDIATE:
        _mark_trials(figure, picture)


def _unquote_choices(figure: Figure) -> None:
    """Optuna writes a choice of words as Python does, in quotes."""

    def unquoted(values: Iterable[Any]) -> list[Any]:
        return [value.strip("'") if isinstance(value, str) else value for value in values]

    figure.for_each_trace(lambda trace: trace.update(x=unquoted(trace.x)))
    for axis in figure.select_xaxes(lambda axis: axis.categoryarray is not None):
        axis.update(categoryarray=unquoted(axis.categoryarray))


def _mark_trials(figure: Figure, picture: Picture) -> None:
    """Colour each trial by how it ended, as in the image."""
    styles = line_styles(picture)

    def mark(line: Any) -> None:
        color, width, height = styles[line.name]
        line.update(line={"color": color, "width": width}, marker={"color": color}, zorder=height)

    figure.for_each_trace(mark)
    figure.update_yaxes(title_text=picture.objective)
