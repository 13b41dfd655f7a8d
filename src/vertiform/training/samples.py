"""What a network says of a few texts: looked at by people, at every validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

TEXTS = 4  # of pretraining
ROWS = 8  # of a task
LONGEST_TEXT = 600  # characters of one that are kept


@dataclass(frozen=True)
class Sample:
    """A text, and a table of what was true and what the network said; rows have equal columns."""

    text: str
    rows: Sequence[Mapping[str, str | float]]


class GivesSamples:
    """What a LightningModule is, too, that has samples of each validation.

    samples: of the last one. They are of the same texts each time and a function of the weights:
             making them draws from none of torch's generators.
    """

    samples: Sequence[Sample] = ()


def spread(total: int, count: int) -> list[int]:
    """Choose at most `count` of the numbers 0 to `total`, evenly; the same each time."""
    count = min(total, count)
    return [place * total // count for place in range(count)]


def in_json(samples: Sequence[Sample], *, step: int) -> str:
    """All of it, for programs."""
    told = {"step": step, "samples": [asdict(sample) for sample in samples]}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def in_markdown(samples: Sequence[Sample], *, step: int) -> str:
    """The same for people: each text with its table."""
    parts = [f"# Samples of the validation at step {step:,}\n"]
    for sample in samples:
        parts.append(f"> {' '.join(sample.text.split())}\n")
        if sample.rows:
            parts.append(_table(sample.rows))
    return "\n".join(parts)


def shortened(text: str) -> str:
    """Cut a long text, and show that it was cut."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " ..."


def _table(rows: Sequence[Mapping[str, str | float]]) -> str:
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in rows)]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
