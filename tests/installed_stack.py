"""The stack these tests run on, by what is installed. Imports no fastai."""

from importlib.util import find_spec


def is_installed(module):
    """Return whether `module` is there, without importing it (its package is)."""
    package = module.split(".")[0]
    return find_spec(package) is not None and find_spec(module) is not None


FASTAI_1, FASTAI_2 = is_installed("fastai.basic_train"), is_installed("fastai.learner")
