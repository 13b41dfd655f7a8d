"""Hands the samples of each validation to the sink."""

from lightning.pytorch import Callback, LightningModule, Trainer

from vertiform.training.metrics import MetricSink
from vertiform.training.samples import GivesSamples, in_json, in_markdown


class Show(Callback):
    """Goes with a module that gives samples: `samples/step_000250.json`, and `.md` for people."""

    def __init__(self, sink: MetricSink) -> None:
        self._sink = sink

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both files."""
        assert isinstance(pl_module, GivesSamples)
        step = trainer.global_step
        file = f"samples/step_{step:06d}"
        self._sink.log_text(in_json(pl_module.samples, step=step), f"{file}.json")
        self._sink.log_text(in_markdown(pl_module.samples, step=step), f"{file}.md")
