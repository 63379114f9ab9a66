"""Each test finds everything afterwards as it was before; fastai's texts, also where there is no spacy."""

import contextlib
import importlib
import warnings

import pytest

from fastai_hf_callback.compat import patching as healing
from fastai_hf_callback.compat import trusted_loading as trust
from tests.fastai1.compat.heal.patched_state import same_state, stub_spacy, world


@pytest.fixture(autouse=True)
def check_everything_restored():
    before = world()
    yield
    assert same_state(before, world())
    assert not healing._ACTIVE and not trust._TRUSTED_PATHS


@pytest.fixture(scope="module")
def text():
    """fastai.text and fastai.distributed; where there is no spacy, on an empty one, and forgotten afterwards."""
    with contextlib.ExitStack() as afterwards:
        try:
            import spacy  # noqa: F401
        except ImportError:
            afterwards.enter_context(stub_spacy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("fastai.distributed")
            yield importlib.import_module("fastai.text")
