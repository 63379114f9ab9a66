"""A label per word, and answers in their contexts."""

from typing import Any, List

import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from torch import Tensor, nn

from fastai_hf_callback import SpanLoss, WordAccuracy, span_exact_match, span_f1, span_logits

from .kind import Kind, Spec
from .learners import make_learner, make_loaders
from .texts import CLS, SEP, bare, draw_lengths, draw_words, frame, pad_rows, pad_with_mask

IGNORE_INDEX = -100


# -- a label per word --------------------------------------------------------------------------------------------


def tag(words: Tensor, spec: Spec) -> Tensor:
    """0 for most words, 1 and 2 for those that tell; of a word in pieces only the first piece is asked for."""
    tags = (words % 3 == 0).long() + (words % 5 == 0).long()
    pieces = torch.rand(len(words)) < 0.2
    return tags.masked_fill(pieces, IGNORE_INDEX) if spec["pieces"] else tags


def build_tags(spec: Spec) -> Learner:
    def draw(n: int) -> List[Any]:
        rows = [draw_words(length) for length in draw_lengths(n, spec["lengths"])]
        ids, mask = pad_with_mask([frame(row) for row in rows])
        ends = torch.tensor([IGNORE_INDEX])
        targets = pad_rows([torch.cat([ends, tag(row, spec), ends]) for row in rows], pad=IGNORE_INDEX)
        return list(zip(ids, mask, targets))

    dls = make_loaders(spec, draw(spec["rows"]), draw(spec["valid_rows"]), n_inp=2)
    weights = torch.tensor([1.0, 1.5, 2.0])
    losses = {
        "flat": CrossEntropyLossFlat(),
        "weighted": CrossEntropyLossFlat(weight=weights),
        "own": lambda output, target: nn.functional.cross_entropy(output.transpose(1, 2), target),
    }
    metrics = [] if spec["metrics"] == "none" else [WordAccuracy()]
    model = bare(spec["architecture"], "TokenClassification", 3)
    return make_learner(spec, dls, model, losses[spec["loss"]], metrics, inputs=("input_ids", "attention_mask"))


# -- spans -------------------------------------------------------------------------------------------------------

QUESTION = 3


def build_spans(spec: Spec) -> Learner:
    """The answer is where the question's word stands in the context, and a word or two after it."""

    def draw(n: int) -> List[Any]:
        rows, spans = [], []
        for length in draw_lengths(n, spec["lengths"]):
            context, word = draw_words(length, last=30), int(draw_words(1, first=30))
            at, width = int(torch.randint(0, length, (1,))), int(torch.randint(0, 2, (1,)))
            context[at] = word
            rows.append(torch.cat([torch.tensor([CLS, word, SEP]), context, torch.tensor([SEP])]))
            spans.append([QUESTION + at, QUESTION + min(at + width, length - 1)])
        ids, mask = pad_with_mask(rows)
        types = torch.zeros_like(ids)
        types[:, QUESTION:] = 1
        wanted = torch.tensor(spans)
        targets = [wanted] if spec["targets"] == "one tensor" else [wanted[:, 0], wanted[:, 1]]
        return list(zip(ids, mask, *([types * mask] if spec["types"] else []), *targets))

    names = ("input_ids", "attention_mask", *(["token_type_ids"] if spec["types"] else []))
    dls = make_loaders(spec, draw(spec["rows"]), draw(spec["valid_rows"]), n_inp=len(names))
    element = span_logits if spec["targets"] == "one tensor" else ("start_logits", "end_logits")
    metrics = {"none": [], "exact": [span_exact_match], "both": [span_exact_match, span_f1]}[spec["metrics"]]
    model = bare(spec["architecture"], "QuestionAnswering")
    return make_learner(spec, dls, model, SpanLoss(), metrics, inputs=names, element=element)


ENCODERS = ("bert", "roberta", "distilbert", "electra", "modernbert")
KINDS = [
    Kind(
        "a label per word",
        build_tags,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal", "short"),
            "pieces": (True, False),
            "loss": ("flat", "weighted", "own"),
            "metrics": ("word accuracy", "none"),
        },
    ),
    Kind(
        "spans",
        build_spans,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal"),
            "types": (True, False),
            "targets": ("one tensor", "two tensors"),
            "metrics": ("both", "exact", "none"),
        },
        lambda spec: not spec["types"] or spec["architecture"] in ("bert", "electra"),
    ),
]
