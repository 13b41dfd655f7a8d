"""params.yaml is read strictly, and its errors name the key."""

from dataclasses import dataclass

import pytest

from vertiform.errors import ConfigError
from vertiform.params import read_stage_params


@dataclass(frozen=True)
class Field:
    text: str


@dataclass(frozen=True)
class CleanParams:
    min_words: int
    max_symbol_ratio: float
    languages: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    limits: dict[str, int] | None = None


GOOD = (
    "min_words: 5, max_symbol_ratio: 1, languages: ['en'], fields: [{text: body}], limits: {a: 1}"
)


def read(tmp_path, section, *, domain="legal", stage="clean"):
    path = tmp_path / "params.yaml"
    path.write_text(f"domains: {{legal: {{clean: {{{section}}}}}}}\n")
    return read_stage_params(path, domain, stage, CleanParams)


def test_a_section_becomes_a_frozen_dataclass(tmp_path):
    assert read(tmp_path, GOOD) == CleanParams(
        min_words=5,
        max_symbol_ratio=1.0,
        languages=("en",),
        fields=(Field("body"),),
        limits={"a": 1},
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("min_word: 5", r"clean.min_word in params.yaml is not a known key(.|\n)*`min_words`"),
        ("min_words: 5", r"clean.max_symbol_ratio is missing(.|\n)*add `max_symbol_ratio:`"),
        (GOOD.replace("5", "many"), r"clean.min_words in params.yaml is 'many'(.|\n)*whole number"),
        (GOOD.replace("['en']", "en"), r"clean.languages in params.yaml is 'en'(.|\n)*a list"),
        (GOOD.replace("{a: 1}", "3"), r"clean.limits in params.yaml is 3(.|\n)*a mapping"),
        (GOOD.replace("text: body", "txt: body"), r"fields\[0\].txt(.|\n)*did you mean `text`"),
        (GOOD.replace("{text: body}", "body"), r"fields\[0\] in params.yaml must be a mapping"),
    ],
)
def test_what_does_not_fit_is_named_with_its_fix(tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, section)


def test_a_domain_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"no domain `legl`(.|\n)*did you mean `legal`"):
        read(tmp_path, GOOD, domain="legl")


def test_a_missing_section_names_the_one_to_copy(tmp_path):
    with pytest.raises(ConfigError, match=r"domains.legal.dedup(.|\n)*domains.software.dedup"):
        read(tmp_path, GOOD, stage="dedup")


def test_a_params_file_that_is_no_yaml_names_the_place(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("domains: [1\n")
    with pytest.raises(ConfigError, match=r"line 2, column 1(.|\n)*correct the YAML"):
        read_stage_params(path, "legal", "clean", CleanParams)


def test_outside_the_project_the_root_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist(.|\n)*root of the project"):
        read_stage_params(tmp_path / "params.yaml", "legal", "clean", CleanParams)
