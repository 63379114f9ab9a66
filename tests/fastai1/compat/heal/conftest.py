"""Each test finds everything afterwards as it was before; fastai's texts, also where there is no spacy."""
import contextlib
import importlib
import warnings

import pytest

from fastai_hf_callback.compat import patching as healing, trusted_loading as trust
from tests.fastai1.compat.heal.patched_state import on_an_empty_spacy, same, world


@pytest.fixture(autouse=True)
def everything_is_put_back():
    before = world()
    yield
    assert same(before, world())
    assert not healing._RUNNING and not trust._TRUSTED


@pytest.fixture(scope="module")
def text():
    """fastai.text and fastai.distributed; where there is no spacy, on an empty one, and forgotten afterwards."""
    with contextlib.ExitStack() as afterwards:
        try:
            import spacy  # noqa: F401
        except ImportError:
            afterwards.enter_context(on_an_empty_spacy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("fastai.distributed")
            yield importlib.import_module("fastai.text")
