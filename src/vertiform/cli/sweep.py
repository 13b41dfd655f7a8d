"""vertiform sweep: a search for a better configuration, that goes on where it was stopped."""

import argparse
import signal
from collections.abc import Mapping

from vertiform.cli.recipe_file import check_name, write_experiment
from vertiform.cli.sweeping.setup import DOORS, Setup, read_setup
from vertiform.errors import EXIT_DONE, ConfigError
from vertiform.sweeps.dimensions import Value

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
    print(_next(setup, options.save, ending.best))
    return EXIT_DONE


def _check_can_be_saved(setup: Setup, name: str) -> None:
    check_name(name)
    if len(setup.objectives.names) > 1:
        raise ConfigError(
            "A sweep of several objectives has no single best trial to save.",
            fix="leave out --save; choose a trial from the report, and give its settings as "
            "overrides.",
        )


def _next(setup: Setup, save_as: str | None, best: Mapping[str, Value] | None) -> str:
    """Say what to do now; write the best trial as an experiment if that was asked for."""
    compare = "Compare the trials: make ui"
    if best is None or dict(best) == dict(setup.search.current):
        return compare if save_as is None else f"Nothing to save as {save_as}. {compare}"
    if save_as is None:
        keep = "To keep the best trial, run the same command with --save NAME"
        return f"{keep}: it writes conf/experiment/NAME.yaml. {compare}"
    return f"{_saved(setup, save_as, best)} {compare}"


def _saved(setup: Setup, name: str, best: Mapping[str, Value]) -> str:
    """Write the best trial as an experiment, and say how it is trained."""
    file = write_experiment(
        name,
        setup.door,
        setup.given.door,
        best,
        note=f"Found by the sweep {setup.name}, whose report says how sure it is.",
    )
    return f"Saved as {file}; experiment={name} under `release:` in params.yaml trains it."
