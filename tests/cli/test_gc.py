"""What `vertiform gc` refuses before it looks at anything."""

import pytest

from vertiform.cli.main import main


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep-days", "-1"], "--keep-days is below 0"),
        (["--permanently"], "vertiform gc --yes --permanently"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(capsys, options, said):
    with pytest.raises(SystemExit) as exit_:
        main(["gc", *options])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
