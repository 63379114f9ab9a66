"""What every fastai module and what else is touched hold, before and after; and what is broken on these versions."""

import contextlib
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_train import Learner
    from fastai.train import AccumulateScheduler

from fastai_hf_callback import heal

PARTS = [
    "ragged-arrays",
    "numpy-names",
    "sortish-sampler",
    "optimizer-load",
    "accumulate",
    "distributed-on-cpu",
    "distributed-validate",
    "distributed-metrics",
    "accuracy-thresh",
]
KNOWS_WEIGHTS_ONLY = hasattr(torch.serialization, "safe_globals")


def world():
    """Every name of every fastai module, of the classes touched, of numpy; torch's load; what of numpy it holds safe.

    Where Python notes which warnings it has shown is left out, and so are the modules that torch loads when needed.
    """
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "fastai"]
    classes = [Learner, AccumulateScheduler]
    if "fastai.text.data" in sys.modules:
        classes.append(sys.modules["fastai.text.data"].SortishSampler)
    safe = torch.serialization.get_safe_globals() if KNOWS_WEIGHTS_ONLY else []
    owners = [*modules, *classes, np, torch.serialization]
    names = [{**vars(owner), "__warningregistry__": None} for owner in owners]
    return [*names, {"load": torch.load}], {str(one) for one in safe if "numpy" in str(one)}


def same_state(before, after):
    return before[1] == after[1] and all(
        set(a) == set(b) and all(a[name] is b[name] for name in a) for a, b in zip(before[0], after[0])
    )


def skip_unless_broken(part):
    """Skip where `part` mends nothing here."""
    with heal(part) as mended:
        if part not in mended:
            pytest.skip(f"{part} is not broken on these versions")


@contextlib.contextmanager
def stub_spacy():
    import fastai

    owners = [fastai, Learner, nn.parallel.DistributedDataParallel]
    modules, names = set(sys.modules), [set(vars(owner)) for owner in owners]
    sys.modules["spacy"] = spacy = types.ModuleType("spacy")
    sys.modules["spacy.symbols"] = spacy.symbols = types.ModuleType("spacy.symbols")
    spacy.symbols.ORTH = 65
    yield
    for name in [name for name in sys.modules if name not in modules and name.split(".")[0] in ("spacy", "fastai")]:
        del sys.modules[name]
    for owner, before in zip(owners, names):
        for name in set(vars(owner)) - before:
            delattr(owner, name)
