"""Fixtures for all tests: a temporary folder to write to, and less output from the libraries."""

import gc
import logging

import pytest

from tests.core_tests import is_core
from tests.installed_stack import FASTAI_1, FASTAI_2

# What needs the fastai that is not installed.
collect_ignore = [
    folder
    for folder, there in (
        ("fastai1", FASTAI_1),
        ("faults", FASTAI_1 or FASTAI_2),
        ("fastai2", FASTAI_2),
        ("models", FASTAI_2),
        ("today", FASTAI_2),
    )
    if not there
]


def pytest_addoption(parser):
    parser.addoption("--without-core", action="store_true", help="leave out what another stack has run: core_tests.py")


def pytest_ignore_collect(collection_path, config):
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and config.getoption("--without-core") and is_core(collection_path) else None


def pytest_collection_finish():
    """Keep the garbage collector from a tenth of the time: a million objects of imported libraries are not searched."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def _run_in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _quiet_libraries():
    for library in ("pytorch_transformers", "transformers"):
        logging.getLogger(library).setLevel(logging.ERROR)
