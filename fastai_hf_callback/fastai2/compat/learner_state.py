"""Restoring what a run or an evaluation changes on a fastai 2 learner: attributes, callbacks, loaders."""

import random
from contextlib import ExitStack, contextmanager
from typing import Any, Iterable, Iterator, List

from fastai.learner import Learner
from fastcore.foundation import L

__all__ = ["preserve_learner", "preserve_attributes", "seed_loaders"]


@contextmanager
def preserve_learner(learn: Learner) -> Iterator[None]:
    """Restore every attribute of the learner and of its loaders on leaving.

    fastai 2 leaves ``dl``, ``xb``, ``pred`` and the like behind, and all of them after an exception.
    """
    callbacks, loaders = learn.cbs, _get_loaders(learn)
    learners = [(vars(callback), vars(callback).get("learn")) for callback in callbacks]
    with ExitStack() as stack:
        stack.enter_context(preserve_attributes([learn, learn.dls, *loaders]))
        stack.enter_context(_preserve_generators(loaders))
        learn.cbs = L(list(callbacks))
        if loaders:
            learn.dls.loaders = list(loaders)
        try:
            yield
        finally:
            for attributes, owner in learners:
                attributes["learn"] = owner


@contextmanager
def preserve_attributes(objects: Iterable[Any]) -> Iterator[None]:
    """Restore on leaving the very attributes that each object has now, and no others."""
    held = [(vars(one), dict(vars(one))) for one in objects]
    try:
        yield
    finally:
        for attributes, before in held:
            attributes.clear()
            attributes.update(before)


def seed_loaders(learn: Learner, seed: int) -> None:
    """Let each loader draw from `seed`: fastai 2's draw from a generator of their own, made with the loader."""
    for loader in _get_loaders(learn):
        if isinstance(vars(loader).get("rng"), random.Random):
            loader.rng = random.Random(seed)


@contextmanager
def _preserve_generators(loaders: List[Any]) -> Iterator[None]:
    generators = [vars(loader).get("rng") for loader in loaders]
    states = [(rng, rng.getstate()) for rng in generators if isinstance(rng, random.Random)]
    try:
        yield
    finally:
        for rng, state in states:
            rng.setstate(state)


def _get_loaders(learn: Learner) -> List[Any]:
    return list(getattr(learn.dls, "loaders", []))
