"""Runs one data stage: parameters from params.yaml, paths from dvc.yaml, the work elsewhere."""

import argparse
import inspect
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertiform.doors import exit_on_user_error
from vertiform.files import write_json
from vertiform.params import read_stage_params


def run(work: Callable[..., dict[str, Any]], params_type: type) -> None:
    """Run `work(params, domain=..., <path>=...)` with what the command line and params.yaml say.

    Each keyword-only Path parameter of `work` becomes a required option; the section of
    params.yaml is domains.<domain>.<stage>, where stage is the script's name. The report that
    `work` returns is written as JSON to --report; its "summary" is printed.
    """
    script = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{script}")
    parser.add_argument("--domain", required=True, help="a key of params.yaml: domains")
    parser.add_argument("--report", required=True, type=Path, help="JSON file to write")
    paths = [
        name
        for name, parameter in inspect.signature(work).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "domain"
    ]
    for name in paths:
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, type=Path)
    options = parser.parse_args()

    with exit_on_user_error():
        started = time.monotonic()
        params = read_stage_params(Path("params.yaml"), options.domain, script, params_type)
        report = work(
            params, domain=options.domain, **{name: getattr(options, name) for name in paths}
        )
        write_json(options.report, report)
        seconds = time.monotonic() - started
        print(f"{script}@{options.domain}: {report['summary']} ({seconds:.0f} s)")
