"""For all tests: a folder of their own to write to, and no more talk from the libraries than needed."""
import logging

import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _quiet_libraries():
    logging.getLogger("pytorch_transformers").setLevel(logging.ERROR)
