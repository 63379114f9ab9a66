"""Which stack these tests run on, told by what is installed. No fastai here."""
from importlib.util import find_spec


def has(module):
    """Whether `module` is there, without importing it (its package is)."""
    package = module.split(".")[0]
    return find_spec(package) is not None and find_spec(module) is not None


FASTAI_1, FASTAI_2 = has("fastai.basic_train"), has("fastai.learner")


def skip_unless_it_compiles(backend):
    """Skip where torch cannot compile the simplest function with `backend`: it needs a C++ compiler it can reach."""
    import pytest
    import torch

    try:
        torch.compile(torch.sin, backend=backend)(torch.ones(3))
    except Exception as error:  # whatever a compiler of its own says
        pytest.skip(f"torch.compile(torch.sin, backend={backend!r}) fails here: {type(error).__name__}")
