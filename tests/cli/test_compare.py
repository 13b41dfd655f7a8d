"""vertiform compare, on real stores: what is chosen, what is printed, and the page it writes."""

import json
import math
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.tracking.examples import LINEAGE, a_run
from vertiform.cli.compare_page import MAX_POINTS, points_a_curve
from vertiform.evaluation.report import FORMAT
from vertiform.files import write_json

F1 = "test/f1_macro"


@pytest.fixture
def compare(door):
    """Run the verb; give its exit code, what it printed, and its errors."""
    return partial(door, "compare")


def trained(store, name, *, lr=0.001, steps=5, **options):
    with a_run(store, name, config={"domain": "software", "lr": lr}, **options) as run:
        for step in range(steps):
            run.log_metrics(
                {"train/loss_nats": 3 - lr * step, "val/f1_macro": 0.1 * step}, step=step
            )
    return run.id


def evaluated(store, run_id, tmp_path, *, score, rows="rows", baseline=None):
    """Add an evaluation, as `vertiform evaluate` does."""
    from vertiform.tracking.runs import reopened_run

    interval = {"value": score, "low": score - 0.02, "high": score + 0.02}
    beside = {} if baseline is None else {F1: {"value": baseline, "low": 0.0, "high": baseline}}
    folder = tmp_path / f"evaluation-{run_id}"
    report = {
        "format": FORMAT,
        "data_sha256": rows,
        "scores": {F1: interval},
        "baseline": beside,
    }
    write_json(folder / "evaluation.json", report)
    with reopened_run(store, run_id) as run:
        run.log_metrics({F1: score})
        run.log_file(folder, folder="evaluation")


def page_of(shown):
    """The page that the verb says it wrote, and the data in it."""
    file = Path(re.search(r"The curves: (\S+)", shown)[1])
    text = file.read_text(encoding="utf-8")
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return file, text, json.loads(held[1])


def test_only_what_differs_is_printed(project, compare):
    trained(project, "one")
    trained(project, "other", lr=0.01)
    code, shown, _ = compare("one", "other")
    assert code == 0
    assert re.search(r"configuration\s+lr\s+0\.001\s+0\.01", shown)
    assert "train/loss_nats" in shown
    assert "val/f1_macro" not in shown  # the same in both
    assert "domain" not in shown.partition("The curves")[0]


def test_code_data_and_packages_that_differ_are_printed(project, compare):
    from dataclasses import replace

    from vertiform.tracking.lineage import Code, DataVersion

    trained(project, "one")
    moved = replace(
        LINEAGE,
        code=Code(commit="f00", branch="main", diff="+ x", diff_sha256="d1ff"),
        data=(DataVersion("data/tokens", "ab" * 16, "md5", "tokenize", 9),),
        packages={"python": "3.12.0"},
    )
    trained(project, "other", lineage=moved)
    shown = compare("one", "other")[1]
    assert re.search(r"code\s+commit\s+c0ffee\s+f00", shown)
    assert re.search(r"uncommitted changes\s+false\s+true", shown)
    assert re.search(r"data\s+data/tokens\s+-\s+abababababab\.\.\.", shown)
    assert re.search(r"packages\s+python\s+3\.11\.7\s+3\.12\.0", shown)


def test_intervals_are_shown_and_say_what_they_tell_apart(project, compare, tmp_path):
    for name, score in (("one", 0.534), ("other", 0.52)):
        evaluated(project, trained(project, name), tmp_path, score=score)
    shown = compare("one", "other")[1]
    assert "0.534 (0.514 to 0.554)  0.520 (0.500 to 0.540)" in shown
    assert "other 0.520 (0.500 to 0.540) is within its interval: not told apart." in shown


def test_an_evaluation_that_cannot_be_read_is_named_and_compared_without(project, compare, caplog):
    runs = [trained(project, name, lr=lr) for name, lr in (("one", 0.1), ("other", 0.2))]
    for run_id in runs:
        project.client.log_metric(run_id, F1, 0.5)
        project.client.log_dict(run_id, {"format": 99}, "evaluation/evaluation.json")
    code, _, _ = compare("one", "other")
    assert code == 0
    assert f"of run {runs[0][:8]} is of format 99: no intervals" in caplog.text


def test_the_reports_that_evaluate_writes_have_what_is_compared():
    from dataclasses import fields

    from vertiform.evaluation.report import EvaluationReport

    assert {"scores", "baseline", "data_sha256"} <= {f.name for f in fields(EvaluationReport)}


def test_a_baseline_has_the_intervals_of_the_report_beside_it(project, compare, tmp_path):
    with a_run(project, "starts") as parent:
        network = trained(project, "network", parent=parent)
        with a_run(project, "baseline", kind="baseline", parent=parent) as baseline:
            baseline.log_metrics({F1: 0.3})
    evaluated(project, network, tmp_path, score=0.6, baseline=0.3)
    assert "baseline 0.300 (0.000 to 0.300) is below it" in compare("network", "baseline")[1]


def test_runs_are_chosen_by_the_beginning_of_an_id_a_condition_or_as_the_best(project, compare):
    ids = [trained(project, f"run {number}", lr=number) for number in range(4)]
    for given in (
        [ids[0][:12], ids[3][:12]],
        ["--where", "domain=software", "lr<4"],
        ["--best", "3", "train/loss_nats"],
    ):
        code, shown, error = compare(*given)
        assert code == 0, error
    _, _, held = page_of(shown)
    assert [run["label"] for run in held["runs"]] == ["run 3", "run 2", "run 1"]


def test_a_model_is_compared_by_the_run_that_made_it(project, compare, tmp_path):
    from tests.tracking.examples import registered

    registered(project, tmp_path)
    trained(project, "other")
    code, shown, error = compare("models:/software-area@candidate", "other")
    assert code == 0, error
    assert "area from scratch" in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["one"], "1 run cannot be compared"),
        (["one", "othr"], "did you mean `other`?"),
        (["one", "twin"], r"2 runs are called `twin`.*\n.*give one of their ids: \w{8} \("),
        (["--best", "ten", "val/f1_macro"], "is no number of runs"),
        (["--best", "2", "val/f1"], "did you mean `val/f1_macro`?"),
        (["one", "other", "--curves", "train/los"], "did you mean `train/loss_nats`?"),
        (["one", "models:/nothing@staging"], "nothing"),
    ],
)
def test_what_cannot_be_compared_is_said_with_what_can(project, compare, given, said):
    for name in ("one", "other", "twin", "twin"):
        trained(project, name)
    code, _, error = compare(*given)
    assert code == 2
    assert re.search(said.replace("?", r"\?"), error), error


def test_the_page_needs_no_network_and_holds_every_curve(project, compare):
    trained(project, "one", steps=7)
    trained(project, "</script><b>{{data}} other", steps=3)
    shown = compare("--where", "domain=software")[1]
    _, text, held = page_of(shown)
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', text.partition("/**")[0])
    lengths = {m["name"]: [len(c["y"]) for c in m["curves"]] for m in held["metrics"]}
    assert lengths == {"val/f1_macro": [3, 7], "train/loss_nats": [3, 7]}
    assert held["runs"][0]["label"] == "</script><b>{{data}} other"


def test_nan_is_a_gap_in_a_curve(project, compare):
    trained(project, "one")
    with a_run(project, "other") as run:
        for step, value in enumerate((1.0, math.nan, math.inf)):
            run.log_metrics({"train/loss_nats": value}, step=step)
    _, _, held = page_of(compare("one", "other")[1])
    curve = next(m for m in held["metrics"] if m["name"] == "train/loss_nats")["curves"][1]
    assert curve["y"] == [1, None, None]


def test_the_same_runs_give_the_same_file_in_any_order(project, compare):
    for name in ("one", "other"):
        trained(project, name)
    first, second = compare("one", "other")[1], compare("other", "one")[1]
    assert page_of(first)[0] == page_of(second)[0]


@pytest.mark.parametrize("num_curves", [1, 10, 1500, 4000])
def test_a_page_stays_of_a_size_that_a_browser_opens(num_curves):
    # Thinned curves and, half as many again, the means of their buckets.
    assert num_curves * points_a_curve(num_curves) * 1.5 <= max(MAX_POINTS, 1800 * num_curves / 9)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_draws_in_a_real_browser(project, compare, tmp_path):
    for name, lr in (("one", 0.001), ("other", 0.01)):
        trained(project, name, lr=lr, steps=50)
    file, _, _ = page_of(compare("one", "other")[1])
    command = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-sync", "--disable-background-networking", f"--user-data-dir={tmp_path}"),
        *("--virtual-time-budget=15000", "--window-size=1400,1200", "--dump-dom"),
        file.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert 'data-ready="yes"' in done.stdout
    assert done.stdout.count("scatterlayer") >= 2
    assert len(re.findall(r'class="js-line"', done.stdout)) == 4  # two runs, two metrics
    assert re.search(r"<td[^>]*>0\.01</td>", done.stdout)
