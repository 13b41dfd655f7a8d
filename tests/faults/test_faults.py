"""Whatever breaks, every point arrives once, and every alias points at a model that loads.

Each fault is made to happen, and counted. What comes of it becomes reports/faults.json and the
table of docs/reliability.md. VERTIFORM_FAULT_SEED=<n> chooses other moments.
"""

import dataclasses
import time

import pytest

from tests.faults import crowd, disks, journals, kills, registry, wire
from tests.faults.rows import keep_row
from tests.faults.scale import FULL

pytestmark = pytest.mark.fault

FAULTS = {
    kills.trainer_killed: "the trainer killed",
    kills.server_killed: "the tracking server killed during one run",
    kills.both_killed: "the trainer and the server killed",
    kills.shipper_killed: "the process that ships killed",
    kills.trainer_and_shipper_killed: (
        "the trainer and the process that ships killed, then `vertiform sync`"
    ),
    wire.wire_spoiled: "faults on the wire",
    wire.server_never_up: "the server never up, then `vertiform sync`",
    disks.journal_disk_full: "disk full: the journal's",
    disks.store_disk_full: "disk full: the store's",
    disks.artifact_disk_full: "disk full: the artifacts'",
    journals.clock_set_back: "the clock set back an hour",
    journals.one_id_twice: "one id for two runs",
    journals.journal_copied: "one id for two runs: a copy of the journal taken up elsewhere",
    journals.bit_flipped: "a corrupt journal: one bit",
    journals.block_overwritten: "a corrupt journal: a block overwritten before it was sent",
    registry.model_changed: "a model file changed after registration",
    registry.database_restored: (
        "the database restored from a backup older than the last promotion"
    ),
    crowd.many_writers: "SQLite under many writers, and the UI open",
}
ORDER = tuple(FAULTS.values())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost_or_doubled_and_every_alias_loads(fault, tmp_path):
    began = time.monotonic()
    row = fault(tmp_path, FULL)
    keep_row(dataclasses.replace(row, seconds=round(time.monotonic() - began, 1)), ORDER)
    assert row.fault == FAULTS[fault]
    assert row.twice == 0
    assert row.aliases_ok
    if fault is not journals.block_overwritten:  # bytes that are gone come back from nowhere
        assert row.missing == 0
