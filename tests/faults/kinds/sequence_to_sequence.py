"""Encoder-decoders: labels among inputs and targets, or the decoder's inputs made by the loader."""

from typing import Any, List

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import Perplexity, ValueMetric
from torch import Tensor

from fastai_hf_callback import WordAccuracy

from .kind import Kind, Spec
from .learners import make_learner, make_loaders
from .texts import CLS, PAD, SEP, bare, draw_lengths, draw_words, frame, pad_rows, pad_with_mask

IGNORE_INDEX, HALF = -100, 22  # words below it are of the first language


def translate(words: Tensor, spec: Spec) -> Tensor:
    """Each word has its translation; what was last may come first."""
    said = words + (HALF - 5)
    return said.flip(0) if spec["order"] == "reversed" else said


def draw(n: int, spec: Spec) -> List[Any]:
    """Sources and their translations, framed as the architecture's tokenizer does."""
    rows = [draw_words(length, last=HALF) for length in draw_lengths(n, spec["lengths"])]
    end = torch.tensor([SEP])
    if spec["architecture"] == "bart":
        return [(frame(row), frame(translate(row, spec))) for row in rows]
    if spec["architecture"] == "mbart":  # a language's code ends each text
        return [(torch.cat([row, end, torch.tensor([CLS])]), torch.cat([translate(row, spec), end])) for row in rows]
    return [(torch.cat([row, end]), torch.cat([translate(row, spec), end])) for row in rows]


def encode(pairs: List[Any]) -> Any:
    """ids, mask and labels, -100 on padding."""
    ids, mask = pad_with_mask([source for source, _ in pairs])
    return ids, mask, pad_rows([target for _, target in pairs], pad=IGNORE_INDEX)


def build_with_labels(spec: Spec) -> Learner:
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        ids, mask, labels = encode(draw(n, spec))
        sets.append(list(zip(ids, mask, labels, labels)))
    dls = make_loaders(spec, *sets, n_inp=3)
    model = bare(spec["architecture"], "ConditionalGeneration")
    names = ("input_ids", "attention_mask", "labels")
    return _learner(spec, dls, model, names)


def build_with_decoder_inputs(spec: Spec) -> Learner:
    """Teacher forcing by the loader: the decoder is given the words before each target."""
    model = bare(spec["architecture"], "ConditionalGeneration")
    start = model.config.decoder_start_token_id
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        ids, mask, labels = encode(draw(n, spec))
        before = torch.cat([torch.full((n, 1), start), labels[:, :-1]], 1)
        sets.append(list(zip(ids, mask, before.masked_fill(before == IGNORE_INDEX, PAD), labels)))
    return _learner(
        spec, make_loaders(spec, *sets, n_inp=3), model, ("input_ids", "attention_mask", "decoder_input_ids")
    )


def _learner(spec: Spec, dls: Any, model: Any, names: Any) -> Learner:
    metrics, callbacks = {"word accuracy": [WordAccuracy()], "both": [Perplexity(), WordAccuracy()], "none": []}, []
    chosen = metrics.get(spec["metrics"], [])
    if spec["metrics"] == "generated":
        measured = MeasuresGeneration()
        chosen, callbacks = [WordAccuracy(), ValueMetric(lambda: measured.value, "overlap")], [measured]
    return make_learner(
        spec, dls, model, CrossEntropyLossFlat(), chosen, inputs=names, element="logits", callbacks=callbacks
    )


class MeasuresGeneration(Callback):
    """Writes a few translations after each epoch, and counts the words that are right: as ROUGE is measured."""

    value = 0.0

    def after_validate(self) -> None:
        ids, mask, *_, target = next(iter(self.learn.dls.valid))
        with torch.no_grad():
            said = self.learn.model.model.generate(
                input_ids=ids[:2], attention_mask=mask[:2], max_new_tokens=4, do_sample=False
            )
        self.value = float(torch.isin(said, target[:2]).float().mean())


CHOICES = {
    "architecture": ("bart", "t5", "mbart"),
    "lengths": ("varied", "equal", "short"),
    "order": ("kept", "reversed"),
    "metrics": ("word accuracy", "both", "generated", "none"),
}
KINDS = [
    Kind("translation, labels given to the model", build_with_labels, CHOICES),
    Kind("translation, decoder inputs of the loader", build_with_decoder_inputs, CHOICES),
]
