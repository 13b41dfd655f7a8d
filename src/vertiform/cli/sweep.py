"""vertiform sweep: a search for a better configuration, that goes on where it was stopped."""

import argparse
import signal
from typing import TYPE_CHECKING

from vertiform.cli.recipe_file import check_name, write_experiment
from vertiform.cli.sweeping.setup import DOORS, Setup, read_setup
from vertiform.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from vertiform.cli.sweeping.ending import Ending

EXIT_INTERRUPTED = 128 + signal.SIGINT


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument("door", help=f"what is swept over: {' or '.join(DOORS)}")
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="search=..., n_trials=..., any key of conf/sweep.yaml, and of the door's file; a "
        "value such as 'tag(log, interval(1e-4, 1e-2))' is searched for",
    )
    parser.add_argument(
        "--save", metavar="NAME", help="write the best configuration to conf/experiment/NAME.yaml"
    )


def run(options: argparse.Namespace) -> int:
    """Search, confirm the best, and say what to do with it."""
    from vertiform.cli.sweeping.working import follow, let_go
    from vertiform.training.distributed import joined

    setup = read_setup(options.door, options.overrides)
    if options.save is not None:
        _check_can_be_saved(setup, options.save)
    trainer = setup.config["trainer"]
    try:
        with joined(trainer["strategy"], accelerator=trainer["accelerator"]) as place:
            if place.rank > 0:
                follow(setup)
                return EXIT_DONE
            code = _search(setup, options)
            let_go()
            return code
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on; what there is, is in {setup.folder}.")
        return EXIT_INTERRUPTED


def _search(setup: Setup, options: argparse.Namespace) -> int:
    from vertiform.cli.sweeping.leading import opened

    words = (options.door, *options.overrides)
    with opened(setup, words) as sweep:
        if not sweep.leads:
            sweep.join()
            return EXIT_DONE
        ending = sweep.lead()
    print("\n" + "\n".join(ending.lines))
    print("Compare the trials: make ui")
    if options.save is not None or ending.best is not None:
        print(_kept(setup, options.save, ending))
    return EXIT_DONE


def _check_can_be_saved(setup: Setup, name: str) -> None:
    check_name(name)
    if len(setup.objectives.names) > 1:
        raise ConfigError(
            "A sweep of several objectives has no single best trial to save.",
            fix="leave out --save; choose a trial from the report, and give its settings as "
            "overrides.",
        )


def _kept(setup: Setup, name: str | None, ending: "Ending") -> str:
    """Write what is to be kept as an experiment, if a name was given; say how it is trained."""
    if ending.best is None:
        return f"Nothing is saved. {ending.found}"
    if name is None:
        return (
            "To keep the best trial, run the same command with --save NAME: it writes "
            "conf/experiment/NAME.yaml."
        )
    note = f"By the sweep {setup.name}. {ending.found}"
    file = write_experiment(name, setup.door, setup.given.door, ending.best, note=note)
    task = setup.config["task"]["name"] if setup.door == "finetune" else None
    place = "pretrain" if task is None else f"tasks.{task}.finetune"
    return (
        f"Saved as {file}. To train it with the release, write release.{place}: "
        f"[experiment={name}] in params.yaml, and run `dvc repro`."
    )
