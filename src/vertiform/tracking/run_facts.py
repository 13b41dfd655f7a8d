"""What a run says of itself at its beginning: its configuration, and where it came from."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from vertiform.tracking.limits import DIGEST_CHARACTERS, PARAM_CHARACTERS, to_valid_name
from vertiform.tracking.lineage import Lineage
from vertiform.tracking.store import without_credentials

if TYPE_CHECKING:
    from vertiform.tracking.runs import Run

TARGET = "_target_"  # Hydra's; config.yaml keeps it


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Return nested config as "optimizer.lr": "0.001", values as YAML writes them, nothing cut.

    A list of plain values is one param; one that holds mappings is numbered: "sources.0.path".
    """
    flat: dict[str, str] = {}
    _flatten_into(flat, "", config)
    return flat


def _flatten_into(flat: dict[str, str], prefix: str, value: Any) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if key == TARGET:
                continue  # a class's name tells a person who compares runs nothing
            _flatten_into(flat, f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            _flatten_into(flat, f"{prefix}.{number}", item)
    elif isinstance(value, str):
        flat[prefix] = without_credentials(value)
    else:
        flat[prefix] = without_credentials(json.dumps(value, ensure_ascii=False, default=str))


def log_config(run: "Run", config: Mapping[str, Any]) -> None:
    """Keep the composed configuration, as params to compare by and whole as config.yaml."""
    params = {}
    for key, value in flatten(config).items():
        name = to_valid_name(key)
        if len(value) > PARAM_CHARACTERS:
            file = f"params/{name}.txt"
            run.log_text(value, file)
            value = f"{len(value):,} characters, too long for MLflow: see the artifact {file}"
        params[name] = value
    run.journal.append("params", params=params)
    text = OmegaConf.to_yaml(OmegaConf.create(dict(config)))
    run.log_text(without_credentials(text), "config.yaml")


def log_lineage(run: "Run", lineage: Lineage) -> None:
    """Keep what the run is rebuilt from, as tags, as datasets and as files."""
    run.set_tags(lineage.tags())
    run.log_text(json.dumps(lineage.as_json(), indent=2) + "\n", "lineage/lineage.json")
    if lineage.code.is_dirty:
        run.log_text(lineage.code.diff, "lineage/uncommitted.diff")
    # What mlflow.data's MetaDataset would write, without the pandas that it imports.
    inputs = [
        {
            "dataset": {
                "name": version.path,
                "digest": version.digest[:DIGEST_CHARACTERS],
                "source_type": "local",
                "source": json.dumps({"uri": version.path}),
                "profile": json.dumps({"size_bytes": version.size_bytes, "stage": version.stage}),
            },
            "tags": {"mlflow.data.context": "training", "digest": version.digest},
        }
        for version in lineage.data
    ]
    if inputs:
        run.journal.append("inputs", inputs=inputs)
