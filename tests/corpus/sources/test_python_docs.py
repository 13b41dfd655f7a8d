import sys
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from vertiform.corpus.sources.installed import (
    ModuleFile,
    Origin,
    licence_of,
    package_files,
    standard_library,
)
from vertiform.corpus.sources.python_docs import (
    PythonDocs,
    _documents,
    _read_file,
    docstrings_of,
    read_python_docs,
)
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError, CorpusError

MODULE = b'''"""Of the module."""
import no_such_module

class Outer:
    """Of the class."""
    class Inner:
        """Of the inner class."""
        async def method(self):
            """
            Of the method.
              Indented.
            """
if no_such_module:
    def chosen():
        """Of the one."""
else:
    def chosen():
        """Of the other."""
def without():
    "not" + "a docstring"
'''


def test_every_docstring_is_found_under_its_qualified_name():
    assert list(docstrings_of(MODULE)) == [
        ("", "Of the module."),
        ("Outer", "Of the class."),
        ("Outer.Inner", "Of the inner class."),
        ("Outer.Inner.method", "Of the method.\n  Indented."),
        ("chosen", "Of the one."),
        ("chosen", "Of the other."),
    ]


def test_a_package_is_read_with_its_facts_and_not_imported():
    tallies: list[Tally] = []
    source = PythonDocs(standard_library=False, packages=("iniconfig",), min_characters=80)
    documents = list(read_python_docs(source, tallies=tallies, processes=1))
    assert {d.meta["distribution"] for d in documents} == {"iniconfig"}
    first = documents[0]
    assert first.source == "python_docs"
    assert set(first.meta) == {
        "package",
        "distribution",
        "version",
        "module",
        "qualified_name",
        "licence",
    }
    assert first.meta["licence"] == "MIT"
    assert all(len(d.text) >= 80 for d in documents)
    assert len({d.id for d in documents}) == len(documents)
    (tally,) = tallies
    assert tally.documents == len(documents)
    assert tally.rows == tally.documents + tally.skipped["shorter than min_characters"]
    assert len(tally.sha256) == 64


def test_reading_imports_nothing_of_the_package():
    source = PythonDocs(standard_library=False, packages=("shellingham",), min_characters=1)
    list(read_python_docs(source, tallies=[], processes=1))
    assert "shellingham.posix" not in sys.modules


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing():
    source = PythonDocs(standard_library=False, packages=("jinja2", "click"), min_characters=80)
    alone = list(read_python_docs(source, tallies=[], processes=1))
    assert list(read_python_docs(source, tallies=[], processes=2)) == alone


def test_a_file_that_does_not_parse_is_left_to_the_report(tmp_path):
    for name, code in {"two.py": b"print 'Python 2'", "null.py": b"\0"}.items():
        (tmp_path / name).write_bytes(code)
        file = ModuleFile(tmp_path / name, "p", "p.two", Origin("p", "1", "MIT"))
        assert _read_file(file).docstrings is None


def test_a_name_defined_again_gets_an_id_of_its_own():
    file = ModuleFile(Path("p.py"), "p", "p", Origin("p", "1", "MIT"))
    documents = _documents(file, list(docstrings_of(MODULE)), min_characters=0)
    ids = [d.id for d in documents]
    assert "python_docs/p:chosen" in ids
    assert "python_docs/p:chosen#2" in ids


def test_tests_and_vendored_code_are_left_out():
    modules = [file.module for file in package_files("numpy")]
    assert "numpy.linalg" in modules
    assert not [module for module in modules if ".tests." in module]
    assert not [file for file in package_files("pip") if "_vendor" in file.module]


def test_the_standard_library_ends_where_installed_packages_begin():
    files = standard_library()
    packages = {file.package for file in files}
    assert {"asyncio", "json", "dataclasses"} <= packages
    assert not {"numpy", "test", "site-packages"} & packages
    assert {file.origin.licence for file in files} == {"PSF-2.0"}


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("nunpy", r"`nunpy`.* is not installed.\n.*did you mean `numpy`\?"),
        ("zzzzzz_never", r"`zzzzzz_never`.* is not installed.\n.*pip install zzzzzz_never"),
        ("vertiform", r"`vertiform` is installed without a list of its Python files"),
    ],
)
def test_a_package_that_cannot_be_read_is_named(package, message):
    with pytest.raises(CorpusError, match=message):
        package_files(package)


def test_a_package_named_twice_is_named():
    source = PythonDocs(standard_library=False, packages=("jinja2", "jinja2"), min_characters=80)
    with pytest.raises(ConfigError, match="names `jinja2` twice"):
        list(read_python_docs(source, tallies=[]))


class Installed(Distribution):
    """A distribution that says of itself what a test gives it."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        message = Message()
        for name, value in fields:
            message[name] = value
        self._text = message.as_string()

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path):
        raise NotImplementedError


APACHE = ("Classifier", "License :: OSI Approved :: Apache Software License")


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT OR Apache-2.0"), APACHE], "MIT OR Apache-2.0"),
        ([("License", "BSD-3-Clause"), APACHE], "BSD-3-Clause"),
        ([("License", "Copyright 2018. All rights " * 9), APACHE], "Apache Software License"),
        ([("Name", "p")], "unknown"),
    ],
)
def test_the_licence_is_the_shortest_name_that_the_metadata_gives(fields, licence):
    assert licence_of(Installed(*fields)) == licence
