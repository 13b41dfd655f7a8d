"""A few faults, so that the tests of `make test-slow` are themselves tried every day."""

import pytest

from tests.faults import kills, wire
from tests.faults.scale import QUICK

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "fault",
    [kills.trainer_killed, kills.trainer_and_shipper_killed, wire.wire_spoiled],
    ids=lambda fault: fault.__name__,
)
def test_a_few_faults_lose_and_double_nothing(fault, tmp_path):
    row = fault(tmp_path, QUICK)
    assert (row.missing, row.twice, row.aliases_ok) == (0, 0, True)
