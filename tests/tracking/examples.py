"""Small real things that the tests of this room start from."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vertiform.evaluation.verdict import GateRow, Verdict
from vertiform.files import write_json
from vertiform.tracking.chain import Entry
from vertiform.tracking.decisions import promote
from vertiform.tracking.lineage import Code, Lineage
from vertiform.tracking.model_files import LoggedModel
from vertiform.tracking.packaging import log_model
from vertiform.tracking.registry import Version, aliases_of, register
from vertiform.tracking.runs import start_run
from vertiform.tracking.served_code import PACKAGES
from vertiform.tracking.store import Store

LINEAGE = Lineage(
    code=Code(commit="c0ffee", branch="main", diff="", diff_sha256=""),
    data=(),
    lock_sha256="",
    packages={"python": "3.11.7"},
    hardware={"device": "cpu"},
    command="vertiform finetune",
)
REBUILD = "dvc repro -f register@area"
PREDICTIONS: list[dict[str, Any]] = [{"label": "web", "confidence": 0.1 + 0.2}]


def a_run(store: Store, name: str = "area from scratch", **options: Any):
    """Open a run with as little as a run needs, shipped by this process at its end."""
    defaults = {
        "experiment": "software",
        "kind": "finetune",
        "config": {},
        "lineage": LINEAGE,
        "in_background": False,
    }
    return start_run(store, name, **(defaults | options))


def a_lock(folder: Path) -> Path:
    """Write a requirements.lock that pins what a served model needs, torch as a CPU build."""
    pins = {package: metadata.version(package) for package in PACKAGES}
    pins |= {"torch": "2.13.0+cpu", "tqdm": metadata.version("tqdm")}
    lock = folder / "requirements.lock"
    lines = ["# Every package, exactly.", *(f"{name}=={pin}" for name, pin in pins.items())]
    lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lock


def logged_model(store: Store, folder: Path, *, weights: bytes = b"weights") -> LoggedModel:
    """Log a bundle whose bytes are right for every check that does not load it."""
    bundle = folder / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "model.safetensors").write_bytes(weights)
    write_json(bundle / "task.json", {"kind": "classification", "labels": ["cli", "web"]})
    with a_run(store) as run:
        return log_model(
            run,
            bundle,
            name="software-area",
            card="# A model\n",
            example_inputs=["open a socket"],
            example_predictions=PREDICTIONS,
            lock=a_lock(folder),
            facts={"task": "area"},
            rebuild=REBUILD,
        )


def registered(store: Store, folder: Path, *, weights: bytes = b"weights") -> Version:
    """Register that model as the newest version of software-area."""
    model = logged_model(store, folder, weights=weights)
    return register(
        store, "software-area", model, card="# A model\n", rebuild=REBUILD, tags={"data": "abc"}
    )


@dataclass(frozen=True)
class Shelf:
    """A registered model whose versions cost little: they all hold one logged model."""

    store: Store
    model: LoggedModel
    name: str

    def next_version(self) -> Version:
        """Register one more version, the candidate."""
        return register(self.store, self.name, self.model, card="", rebuild=REBUILD, tags={})

    def promoted(self, *, reason: str = "it earned it") -> Version:
        """Register one more version, and let every gate of staging pass."""
        version = self.next_version()
        promoted(self.store, version, reason=reason)
        return version

    @property
    def aliases(self) -> dict[str, int]:
        """Which version stands where."""
        return aliases_of(self.store, self.name)


def promoted(
    store: Store,
    version: Version,
    *,
    alias: str = "staging",
    passed: bool = True,
    reason: str = "it earned it",
    force: bool = False,
) -> Entry:
    """Decide about a version by a gate that says what it is told to."""

    def decide() -> Verdict:
        return verdict(passed=passed, alias=alias)

    return promote(store, version, alias=alias, decide=decide, reason=reason, force=force)


def verdict(*, passed: bool, alias: str = "staging") -> Verdict:
    """One gate, with a figure."""
    reason = "0.72 at least" if passed else "0.72 is below the floor"
    row = GateRow("floors test/f1_macro", 0.5, 0.72, (0.7, 0.74), passed, reason)
    return Verdict(alias=alias, rows=(row,))


def tiny_bundle(folder: Path, *, seed: int = 0) -> Path:
    """A fine-tuned classifier as small as BERT gets. It knows w0 to w54 and has learned nothing."""
    import torch

    from tests.builders import SPECIAL, tiny_tokens
    from vertiform.models.encoder import EncoderParams, build_encoder
    from vertiform.tasks.bundle import Bundle, BundleFacts, load_tokenizer, write_bundle
    from vertiform.tasks.network import TaskNetwork

    tiny_tokens(folder / "tokens", vocab_size=60)
    size = EncoderParams(
        width=16, depth=1, heads=2, feed_forward_width=32, max_tokens=32, dropout=0.0
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = build_encoder(size, vocab_size=60, pad_id=SPECIAL.pad)
        network = TaskNetwork(encoder, num_outputs=2, pooling="mean").eval()
    facts = BundleFacts(
        task="area",
        kind="classification",
        labels=("cli", "web"),
        language="en",
        split_rule="by module",
        start="scratch",
        pooling="mean",
        max_tokens=32,
        temperature=1.0,
        validation={},
        task_sha256={},
    )
    write_bundle(folder / "model", Bundle(network, load_tokenizer(folder / "tokens"), facts))
    return folder / "model"
