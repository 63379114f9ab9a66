"""Inputs that are numbers (pixels, waveforms, features of a table): what they hold and whether outputs answer to them.

Part of an examination.
"""

from functools import partial
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.diagnosis.probes.forward_calls import is_mask
from fastai_hf_callback.diagnosis.probes.numeric.features import compute_features
from fastai_hf_callback.diagnosis.probes.numeric.inputs import (
    FirstCall,
    change_part,
    find_numeric_inputs,
    probe_numeric_inputs,
    read_parts,
)
from fastai_hf_callback.diagnosis.probes.numeric.masks import is_mask_of_classes, summarize_masks
from fastai_hf_callback.diagnosis.probes.numeric.sensitivity import (
    measure_answer,
    measure_answer_if_scaled,
    measure_answer_with_noise,
)
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.numeric_inputs import NumericInputs
from fastai_hf_callback.results.probes import DOES_NOT_APPLY

from .learner_adapter import LearnerAdapter
from .probe_runner import DoesNotApplyError, NotMadeError

__all__ = ["NumericInputsProbe", "skip_texts", "summarize_targets"]

LOW_CONTRAST = 0.05  # values that vary less are compared with the same of standard deviation 1


class NumericInputsProbe:
    """The numbers among the inputs of one learner; used inside ``adapter.preserve()``.

    Parameters
    ----------
    adapter : LearnerAdapter
    evidence : Evidence
        Written to.
    """

    def __init__(self, adapter: LearnerAdapter, evidence: Evidence):
        self.model, self.evidence = adapter.learn.model, evidence
        self.names = list(getattr(self.model, "input_names", None) or ())

    def find(self, batch: Any, has_ids: bool) -> List[str]:
        """Name the inputs that are numbers."""
        return find_numeric_inputs(batch, has_ids, self.names)

    def read(self, batches: List[Any], first_call: Optional[FirstCall], has_ids: bool) -> None:
        """Look at the numbers in `batches`, and at what the first layer was given of the first one."""
        found = self.find(batches[0], has_ids)
        if not found and not has_ids:
            raise NotMadeError(
                "there is no tensor with a row for each target among the inputs",
                "look at a batch by hand: print(learn.dls.one_batch()) or learn.data.one_batch()",
            )
        tables: Dict[str, List[Tensor]] = {name: [] for name in found}
        for batch in batches:
            for name, part in read_parts(batch, self.names).items():
                if name in tables and isinstance(part, Tensor):
                    tables[name].append(part)
        alone = len(found) == 1 and not has_ids
        self.evidence.numeric_inputs = probe_numeric_inputs(tables, first_call if alone else None, self.model)

    def compute_features(self, batch: Any) -> Optional[np.ndarray]:
        """Compute features of every row of a batch; None where its numbers are not those that were read."""
        parts, names = read_parts(batch, self.names), [one.name for one in self.evidence.numeric_inputs]
        if self.evidence.inputs is None:  # codes of a table, next to its numbers
            names += [name for name, part in parts.items() if name not in names and _holds_codes(part)]
        found = [parts.get(name) for name in names]
        if not self.evidence.numeric_inputs or not all(isinstance(part, Tensor) for part in found):
            return None
        return np.concatenate([compute_features(part) for part in found if isinstance(part, Tensor)], 1)

    def probe_answers(self, compute: Callable[[Any], Tensor], batch: Any, output: Tensor) -> None:
        """Measure what the outputs do when rows exchange their numbers."""
        if not self.evidence.numeric_inputs:
            raise DoesNotApplyError("no input is a tensor of numbers")
        with torch.no_grad():
            for found in self.evidence.numeric_inputs:
                self._probe_answer(found, compute, batch, output)

    def _probe_answer(self, found: NumericInputs, compute: Callable[[Any], Tensor], batch: Any, output: Tensor) -> None:
        change = partial(change_part, names=self.names, name=found.name)
        found.answer = measure_answer(compute, batch, change, output)
        if found.answer == 0:
            found.answer = measure_answer_with_noise(compute, batch, change, self.model)
        if found.kind != "features" and found.values is not None and found.values.contrast < LOW_CONTRAST:
            found.answer_if_scaled = measure_answer_if_scaled(compute, batch, change, output)


def skip_texts(evidence: Evidence) -> None:
    """Record that probes of texts do not apply."""
    for name in _OF_TEXTS & set(evidence.probes):
        evidence.probes[name].settle(DOES_NOT_APPLY, "the model looks up no token ids in a word embedding")


_OF_TEXTS = {"padding of validation batches", "answer to words", "answer of other weights", "answer to padding"}


def summarize_targets(target: Tensor) -> Tensor:
    """Summarize masks, a row each; other targets stay as they are."""
    return summarize_masks(target) if is_mask_of_classes(target) else target


def _holds_codes(part: Any) -> bool:
    return isinstance(part, Tensor) and not part.is_floating_point() and part.dim() in (1, 2) and not is_mask(part)
