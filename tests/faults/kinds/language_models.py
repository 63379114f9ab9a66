"""Causal and masked language models: their loss shifts, or their targets do, or the model computes it."""

from functools import partial
from typing import Any, List

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import Perplexity, accuracy
from fastai.text.data import LMDataLoader
from torch import Tensor
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from fastai_hf_callback import NextTokenLoss, WordAccuracy

from .kind import Kind, Spec
from .learners import make_learner, make_loaders
from .texts import CLS, FIRST_WORD, MASK, PAD, SEP, VOCAB, bare, draw_lengths, draw_words, frame, pad_with_mask

IGNORE_INDEX = -100


def count_on(n: int, spec: Spec) -> List[Tensor]:
    """Each word is the one before it plus a step of the row's own; now and then it is another."""
    rows = []
    for length in draw_lengths(n, spec["lengths"]):
        start, step = torch.randint(0, 30, (1,)), torch.randint(1, 4, (1,))
        words = (start + step * torch.arange(length)) % (VOCAB - FIRST_WORD) + FIRST_WORD
        noisy = torch.rand(length) < 0.1
        words[noisy] = draw_words(int(noisy.sum()))
        rows.append(torch.cat([torch.tensor([CLS]), words]) if spec["begins"] else words)
    return rows


def hide_padding(ids: Tensor, mask: Tensor) -> Tensor:
    return ids.masked_fill(mask == 0, IGNORE_INDEX)


def two_sets(spec: Spec, draw: Any) -> List[Any]:
    """Training and validation rows."""
    return [draw(spec["rows"]), draw(spec["valid_rows"])]


# -- causal -----------------------------------------------------------------------------------------------------


def build_shifting_loss(spec: Spec) -> Learner:
    """Targets are the ids themselves, -100 on padding, and the loss shifts: as the package's page of tasks says."""

    def draw(n: int) -> List[Any]:
        ids, mask = pad_with_mask(count_on(n, spec))
        return list(zip(ids, mask, hide_padding(ids, mask)))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    metrics = {"word accuracy": [WordAccuracy(ahead=1)], "both": [Perplexity(), WordAccuracy(ahead=1)], "none": []}
    model = causal(spec["architecture"])
    return make_learner(
        spec, dls, model, NextTokenLoss(), metrics[spec["metrics"]], inputs=("input_ids", "attention_mask")
    )


def causal(architecture: str) -> Any:
    return bare(architecture, "LMHeadModel" if architecture == "gpt2" else "CausalLM")


def build_shifted_targets(spec: Spec) -> Learner:
    """The batches hold the next words already, and an ordinary loss compares them as they are."""

    def draw(n: int) -> List[Any]:
        ids, mask = pad_with_mask(count_on(n, spec))
        targets = hide_padding(ids, mask)
        return list(zip(ids[:, :-1], mask[:, :-1], targets[:, 1:]))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    metrics = {"word accuracy": [WordAccuracy()], "both": [Perplexity(), WordAccuracy()], "none": []}
    return make_learner(
        spec,
        dls,
        causal(spec["architecture"]),
        CrossEntropyLossFlat(),
        metrics[spec["metrics"]],
        inputs=("input_ids", "attention_mask"),
    )


def build_fastai_loader(spec: Spec) -> Learner:
    """fastai's own loader of language models cuts a stream into rows, and shifts the targets."""
    sets = two_sets(spec, lambda n: count_on(n, spec))
    train, valid = (
        LMDataLoader(
            rows, lens=list(map(len, rows)), bs=spec["bs"], seq_len=spec["seq_len"], num_workers=0, shuffle=False
        )
        for rows in sets
    )
    metrics = {"word accuracy": [accuracy], "both": [Perplexity(), accuracy], "none": []}
    model = causal(spec["architecture"])
    dls = DataLoaders(train, valid, device=torch.device("cpu"))
    return make_learner(spec, dls, model, CrossEntropyLossFlat(), metrics[spec["metrics"]], inputs=("input_ids",))


def build_collated(spec: Spec) -> Learner:
    """Hugging Face's collator pads, and makes labels of the ids; they are taken out as targets."""
    collator = DataCollatorForLanguageModeling(make_tokenizer(), mlm=False)
    dls = make_loaders(
        spec,
        *two_sets(spec, lambda n: [{"input_ids": row.tolist()} for row in count_on(n, spec)]),
        n_inp=1,
        collate=partial(_collate, collator, spec["labels_too"]),
    )
    metrics = {"word accuracy": [WordAccuracy(ahead=1)], "both": [Perplexity(), WordAccuracy(ahead=1)], "none": []}
    names = ("input_ids", "attention_mask", *(["labels"] if spec["labels_too"] else []))
    return make_learner(
        spec,
        dls,
        causal(spec["architecture"]),
        NextTokenLoss(),
        metrics[spec["metrics"]],
        inputs=names,
        element="logits" if spec["labels_too"] else None,
    )


def _collate(collator: Any, keeps_labels: bool, rows: List[Any]) -> Any:
    batch = dict(collator(rows))
    labels = batch["labels"] if keeps_labels else batch.pop("labels")
    return {name: batch[name] for name in ("input_ids", "attention_mask", "labels") if name in batch}, labels


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Of these words; only its special tokens are asked for."""
    from tokenizers import Tokenizer, models

    words = {"[PAD]": PAD, "[UNK]": 1, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": MASK}
    words.update({f"w{i}": i for i in range(FIRST_WORD, VOCAB)})
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def build_own_loss(spec: Spec) -> Learner:
    """The labels are inside the batch, the model computes its loss, and ``loss_func`` only hands it on."""

    def draw(n: int) -> List[Any]:
        ids, mask = pad_with_mask(count_on(n, spec))
        return list(zip(ids, mask, hide_padding(ids, mask), hide_padding(ids, mask)))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=3)
    return make_learner(
        spec,
        dls,
        causal(spec["architecture"]),
        take_own_loss,
        inputs=("input_ids", "attention_mask", "labels"),
        unwraps=False,
    )


def take_own_loss(output: Any, *targets: Any) -> Tensor:
    return output["loss"]


# -- masked -----------------------------------------------------------------------------------------------------


def build_masked(spec: Spec) -> Learner:
    """Words are hidden, anew in each batch or once for all, and are the only ones to be told."""
    collator = DataCollatorForLanguageModeling(make_tokenizer(), mlm=True, mlm_probability=spec["hidden"])

    def draw(n: int) -> List[Any]:
        lengths = draw_lengths(n, spec["lengths"])
        return [{"input_ids": frame(draw_words(1).expand(length)).tolist()} for length in lengths]

    sets = two_sets(spec, draw)
    collate = partial(_collate, collator, False)
    if spec["masks"] == "once":
        sets = [_as_rows(collate(rows)) for rows in sets]
    dls = make_loaders(
        spec, *sets, n_inp=1 if spec["masks"] != "once" else 2, collate=None if spec["masks"] == "once" else collate
    )
    metrics = {"word accuracy": [WordAccuracy()], "both": [Perplexity(), WordAccuracy()], "none": []}
    return make_learner(
        spec,
        dls,
        bare(spec["architecture"], "MaskedLM"),
        CrossEntropyLossFlat(),
        metrics[spec["metrics"]],
        inputs=("input_ids", "attention_mask"),
    )


def _as_rows(batch: Any) -> List[Any]:
    inputs, labels = batch
    return list(zip(inputs["input_ids"], inputs["attention_mask"], labels))


CAUSAL = {
    "architecture": ("gpt2", "llama", "opt"),
    "lengths": ("varied", "equal", "short"),
    "begins": (True, False),
    "metrics": ("word accuracy", "both", "none"),
}
KINDS = [
    Kind("causal, the loss shifts", build_shifting_loss, CAUSAL),
    Kind("causal, the targets are shifted", build_shifted_targets, CAUSAL),
    Kind(
        "causal, fastai's loader",
        build_fastai_loader,
        {**CAUSAL, "architecture": ("gpt2", "llama"), "seq_len": (8, 12), "rows": (192, 256)},
    ),
    Kind("causal, collated", build_collated, {**CAUSAL, "labels_too": (False, True)}),
    Kind("causal, the model's own loss", build_own_loss, {k: v for k, v in CAUSAL.items() if k != "metrics"}),
    Kind(
        "masked",
        build_masked,
        {
            "architecture": ("bert", "roberta", "distilbert", "electra", "modernbert"),
            "lengths": ("varied", "equal"),
            "hidden": (0.15, 0.3),
            "masks": ("anew", "once"),
            "metrics": ("word accuracy", "both", "none"),
        },
    ),
]
