import json
from dataclasses import replace

from vertiform.evaluation.verdict import GateRow, Verdict, verdict_table

PASSED = GateRow("floors test/f1_macro", 0.4, 0.612, (0.55, 0.67), True, "holds")
REFUSED = GateRow("contamination", 0, 3, None, False, "3 documents | share text")


def test_a_verdict_without_rows_passes_nothing():
    assert not Verdict("staging", ()).passed


def test_a_verdict_is_plain_json():
    values = json.loads(json.dumps(Verdict("staging", (PASSED, REFUSED)).to_json()))
    assert values["passed"] is False
    assert values["rows"][0]["interval"] == [0.55, 0.67]
    assert values["rows"][1]["interval"] is None


def test_the_verdict_table_is_aligned_and_ends_with_the_sum():
    table = verdict_table(Verdict("staging", (PASSED, replace(REFUSED, reason="3 shared"))))
    assert table.splitlines() == [
        "gate                  threshold  measured        interval  verdict  reason",
        "--------------------  ---------  --------  --------------  -------  --------",
        "floors test/f1_macro      0.400     0.612  0.550 to 0.670  pass     holds",
        "contamination                 0         3               -  FAIL     3 shared",
        "",
        "1 of 2 gates of `staging` said no; it does not move.",
    ]


def test_a_measure_that_is_not_a_number_is_shown_and_stays_json():
    verdict = Verdict("staging", (replace(REFUSED, measured=float("nan")),))
    assert "nan" in verdict_table(verdict)
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["rows"][0]["measured"] is None


def test_the_verdict_in_markdown_escapes_what_would_break_the_table():
    lines = verdict_table(Verdict("staging", (PASSED, REFUSED)), as_markdown=True).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | --- | --- |"
    assert lines[3].endswith("| FAIL | 3 documents \\| share text |")


def test_a_verdict_that_passed_says_so():
    table = verdict_table(Verdict("staging", (PASSED,)))
    assert table.endswith("\n\nAll 1 gates of `staging` passed.")
