import io
import logging
import re
import shutil
import subprocess
import warnings

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from PIL import Image

from tests.sweeps.studies import pruned_study, quiet, study_of_several
from vertiform.sweeps.picture_plan import LeftOut, Picture, pictures_of
from vertiform.sweeps.pictures import PAGE, write_pictures

ONE = ["history", "importances", "slice", "parallel_coordinates", "intermediate_values"]
NAMES = ("quality", "latency", "size")


@pytest.fixture(scope="module")
def study():
    return pruned_study(40)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return write_pictures(study, folder, objectives=["val/f1_macro"], title="A sweep of <area>")


def planned(study, *objectives: str) -> dict[str, Picture | LeftOut]:
    quiet()
    found = list(pictures_of(study, objectives=objectives or ["quality"]))
    return {getattr(picture, "name", picture.title): picture for picture in found}


def reasons(study, *objectives: str) -> set[str]:
    left_out = planned(study, *objectives).values()
    return {picture.reason for picture in left_out if isinstance(picture, LeftOut)}


def study_of(num_trials: int, objective, *, direction: str = "minimize") -> optuna.Study:
    quiet()
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=num_trials)
    return study


def test_a_study_gives_every_picture_as_an_image_and_on_one_page(written):
    assert [path.stem for path in written.images] == ONE
    assert written.left_out == ()
    assert written.page.name == PAGE
    text = written.page.read_text(encoding="utf-8")
    assert [f'id="{name}"' in text for name in ONE] == [True] * len(ONE)
    for path in written.images:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert all(300 < side < 1800 for side in image.size)


def test_no_picture_is_blank(written):
    for path in written.images:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert 0.01 < (pixels != 255).any(axis=1).mean() < 0.7, path.name


def test_the_page_holds_its_script_once_and_asks_no_other_address(written):
    text = written.page.read_text(encoding="utf-8")
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text)
    assert "A sweep of &lt;area&gt;" in text
    own = text[text.index("<h1>") :]
    assert "Infinity" not in own
    assert "NaN" not in own


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_draws_every_figure_of_the_page(written, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path}"
    done = subprocess.run(
        [*command, profile, "--virtual-time-budget=8000", written.page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(re.findall(r'class="main-svg"[^>]*>', done.stdout)) >= len(ONE)
    for word in ("dropout", "momentum", "adamw", "muon", "best so far", "None"):
        assert re.search(rf">{word}<", done.stdout), word


def test_the_same_study_gives_the_same_bytes_and_changes_no_global(study, written, tmp_path):
    mpl.rcdefaults()
    before = dict(mpl.rcParams)
    again = write_pictures(study, tmp_path, objectives=["val/f1_macro"], title="A sweep of <area>")
    assert dict(mpl.rcParams) == before
    for old, new in zip(written.paths, again.paths, strict=True):
        assert old.read_bytes() == new.read_bytes(), old.name


def test_no_version_or_time_is_written_into_an_image(written):
    with Image.open(io.BytesIO(written.images[0].read_bytes())) as image:
        assert set(image.info) <= {"dpi"}


def test_writing_pictures_warns_of_nothing_and_leaves_optunas_log_as_it_was(tmp_path):
    study = study_of_several(2, 8)
    level = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_pictures(study, tmp_path, objectives=NAMES[:2], title="two")
    assert optuna.logging.get_verbosity() == level


def test_choices_that_look_like_numbers_are_nothing_to_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    study = study_of(6, lambda trial: float(trial.suggest_categorical("batch", [8, 16, 32])))
    write_pictures(study, tmp_path, objectives=["quality"], title="batches")
    assert "matplotlib" not in {record.name.split(".")[0] for record in caplog.records}


@pytest.mark.parametrize("n_objectives", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_objectives_have_a_front_and_pictures_of_each(n_objectives, tmp_path):
    names = NAMES[:n_objectives]
    study = study_of_several(n_objectives, 12)
    written = write_pictures(study, tmp_path, objectives=names, title="several")
    stems = [path.stem for path in written.images]
    of_each = [f"{kind}_{name}" for kind in ("history", "importances", "slice") for name in names]
    assert stems == ["pareto_front", *of_each, "parallel_coordinates"]
    assert [picture.reason for picture in written.left_out] == [
        "of several objectives none is heard before a trial ends"
    ]


def test_what_matters_for_an_objective_that_is_maximised_is_what_makes_it_large():
    quiet()

    def objectives(trial: optuna.Trial) -> tuple[float, float]:
        a, b = trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)
        return 10 * (a > 0.9) - 10 * (b < 0.1) + 0.01 * a * b, a

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objectives, n_trials=200)
    picture = planned(study, "quality", "latency")["importances_quality"]
    ours = optuna.importance.get_param_importances(picture.study)
    assert max(ours, key=ours.get) == "a"
    # Optuna itself, asked for one of several objectives, says what makes it small.
    with pytest.warns(UserWarning, match="low `target` values"):
        theirs = optuna.importance.get_param_importances(study, target=lambda t: t.values[0])
    assert max(theirs, key=theirs.get) == "b"


def test_dimensions_and_long_choices_go_by_short_names():
    choices = [f"a choice of words, number {n}" for n in (1, 2, 11)] + [None, True, 3]

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("model.kind", choices)
        return trial.suggest_float("starts.domain.optimizer.lr", 1e-4, 1.0, log=True)

    picture = planned(study_of(12, objective))["slice"]
    assert picture.options["params"] == ["kind", "lr"]
    kind = picture.study.trials[0].distributions["kind"]
    assert isinstance(kind, CategoricalDistribution)
    words = [choice for choice in kind.choices if isinstance(choice, str)]
    assert max(map(len, words)) <= 19
    assert len(set(words)) == 3
    assert kind.choices[3:] == (None, True, 3)


def test_a_log_dimension_has_a_log_axis_in_both_drawings():
    import optuna.visualization as plotly_drawing
    import optuna.visualization.matplotlib as image_drawing

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("model.dropout", 0.0, 0.5)
        return trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)

    picture = planned(study_of(6, objective))["slice"]
    assert picture.options["params"] == ["dropout", "lr"]
    with mpl.rc_context():
        axes = picture.drawn_by(image_drawing)
    assert [one.get_xscale() for one in axes] == ["linear", "log"]
    figure = picture.drawn_by(plotly_drawing)
    assert (figure.layout.xaxis.type, figure.layout.xaxis2.type) == (None, "log")


def test_many_dimensions_are_shared_among_several_pictures():
    def objective(trial: optuna.Trial) -> float:
        return sum(trial.suggest_float(f"dim_{i}", 0, 1) for i in range(12))

    parts = [p for name, p in planned(study_of(5, objective)).items() if "slice" in name]
    assert [part.name for part in parts] == ["slice_1", "slice_2", "slice_3"]
    shown = [name for part in parts for name in part.options["params"]]
    assert sorted(shown) == sorted(f"dim_{i}" for i in range(12))


def test_an_empty_study_gives_a_page_that_says_what_is_missing(tmp_path):
    written = write_pictures(
        optuna.create_study(), tmp_path, objectives=["quality"], title="nothing yet"
    )
    assert written.images == ()
    text = written.page.read_text(encoding="utf-8")
    assert "quality: the best so far: no trial has ended well." in text
    assert text.count("<li>") == len(written.left_out) == 5


def test_what_a_study_lacks_for_a_picture_is_said():
    alone = study_of(1, lambda trial: trial.suggest_float("x", 0, 1))
    assert "it needs two trials that ended well" in reasons(alone)
    constant = study_of(3, lambda trial: trial.suggest_float("x", 1, 1) + trial.number)
    assert "no dimension has had two values" in reasons(constant)
    single = study_of(3, lambda trial: trial.suggest_float("x", 0, 1))
    assert "one dimension alone has had two values" in reasons(single)

    def level(trial: optuna.Trial) -> float:
        return 0 * (trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1))

    assert "every trial has the same value" in reasons(study_of(3, level))


def test_reports_of_failed_trials_alone_are_not_drawn():
    quiet()
    study = optuna.create_study()
    failed = study.ask()
    failed.report(0.1, step=10)
    failed.report(0.2, step=20)
    study.tell(failed, state=TrialState.FAIL)
    assert "no trial was validated twice" in reasons(study)


def test_trials_that_failed_run_or_have_no_finite_value_do_not_stop_the_pictures(tmp_path):
    quiet()
    study = optuna.create_study(direction="maximize")
    study.tell(study.ask(), state=TrialState.FAIL)
    for value in (0.5, float("inf"), 0.7):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_float("y", 0, 1)
        study.tell(trial, value)
    running = study.ask()
    running.report(0.1, step=10)
    running.report(0.2, step=20)
    study.enqueue_trial({"x": 0.5, "y": 0.5})
    written = write_pictures(study, tmp_path, objectives=["quality"], title="faults")
    assert [path.stem for path in written.images] == ONE
