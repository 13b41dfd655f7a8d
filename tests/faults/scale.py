"""How many faults of each kind: as many as were promised, or a few, to try the tests themselves."""

import os
from dataclasses import dataclass

SEED = int(os.environ.get("VERTIFORM_FAULT_SEED", "0"))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Counts of faults."""

    trainer_kills: int
    server_kills: int
    both_kills: int
    wire_faults: int
    shipper_kills: int
    overlapping_seconds: float


FULL = Scale(
    trainer_kills=100,
    server_kills=20,
    both_kills=10,
    wire_faults=1000,
    shipper_kills=15,
    overlapping_seconds=30.0,
)
QUICK = Scale(
    trainer_kills=3,
    server_kills=1,
    both_kills=1,
    wire_faults=21,
    shipper_kills=2,
    overlapping_seconds=3.0,
)
