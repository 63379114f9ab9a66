"""What reaches the model is not the text, or the labels are not the text's; and weights that never were loaded."""

import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFModel
from tests.faults.fault import BERTS, NEWEST, OTHERS, SOME, THIRD, Reader, body_for, fault, position_for
from tests.faults.stacks import stack
from tests.faults.tasks import (
    ALL,
    CLS,
    FIRST_WORD,
    MASKED,
    PAD,
    SEP,
    TASKS,
    UNK,
    Rows,
    Texts,
    bare_model,
    body_of,
    both,
    databunch,
    head_and_body,
    learner,
    lengths_for,
    of_today,
    padded,
    tensors,
    wrapped,
)

Learner = stack.Learner
Build = Callable[[str], Learner]
NO_OWN_MASK, READ_AT_FIRST, TYPES = stack.NO_OWN_MASK, stack.READ_AT_FIRST, stack.TYPES

# -- padding and mask --------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """A user's wrapper: the ids alone reach the model, whatever else the batch brings."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, *rest: Tensor) -> Any:
        return self.net(input_ids=ids)


class Masked(Plain):
    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        return self.net(input_ids=ids, attention_mask=mask)


class ReadsEverything(Reader):
    """Its own head, and no mask handed on."""

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.score(self.body(ids, attention_mask=torch.ones_like(ids))[0].mean(1))


def batches_of(
    task: str, change: Callable[[Tensor, Tensor], List[Tensor]], make_model: Any = wrapped, **padding: Any
) -> Build:
    """`change` makes of ids and mask what the batch brings."""

    def build(architecture: str) -> Learner:
        parts = [[*change(*padded(part.rows, length=20, **padding)), part.targets] for part in both(task)]
        net = make_model(bare_model(architecture, TASKS[task].n_outputs), architecture)
        return learner(architecture, task, model=net, data=databunch(*parts))

    return build


def ids_alone(ids: Tensor, mask: Tensor) -> List[Tensor]:
    return [ids]


def as_it_is(ids: Tensor, mask: Tensor) -> List[Tensor]:
    return [ids, mask]


def plain(bare: nn.Module, architecture: str) -> nn.Module:
    return Plain(bare)


def with_pad_id(pad_token_id: int) -> Callable[[nn.Module, str], nn.Module]:
    return lambda bare, architecture: HFModel(bare, inputs=("input_ids",), pad_token_id=pad_token_id)


def named(*names: str) -> Callable[[nn.Module, str], nn.Module]:
    return lambda bare, architecture: HFModel(bare, inputs=names)


def bare_as_given(bare: nn.Module, architecture: str) -> nn.Module:
    """fastai calls it by position."""
    return bare


def own_head_unmasked(architecture: str) -> Learner:
    net = ReadsEverything(body_for(architecture), 6, position_for(architecture))
    return learner(architecture, "labels", model=net)


# -- words -------------------------------------------------------------------------------------------------------


def rewritten(task: str, change: Callable[[Rows], Rows], **drawn: Any) -> Build:
    """`change` makes of the rows what a wrong tokenizer would."""

    def build(architecture: str) -> Learner:
        lengths = drawn.get("lengths") or lengths_for(architecture)
        parts = [Texts(change(part.rows), part.targets) for part in both(task, **{**drawn, "lengths": lengths})]
        length = max(len(row) for part in parts for row in part.rows)
        if architecture == "gpt2":
            parts = [Texts([same_length(row, length) for row in part.rows], part.targets) for part in parts]
        return learner(
            architecture, task, data=databunch(*(tensors(part, architecture, length=length) for part in parts))
        )

    return build


def same_length(row: List[int], length: int) -> List[int]:
    """For a model that is read at its last position."""
    return row[:-1] + row[1:-1][:1] * (length - len(row)) + row[-1:]


def all_unknown(rows: Rows) -> Rows:
    return [[CLS] + [UNK] * (len(row) - 2) + [SEP] for row in rows]


def all_unknown_with_the_ends(rows: Rows) -> Rows:
    """The special tokens are unknown too."""
    return [[UNK] * len(row) for row in rows]


def nearly_all_unknown(rows: Rows) -> Rows:
    """Upper case in a lower-case vocabulary: full stops and numbers are all that is found."""
    return [[CLS] + [w if w < FIRST_WORD + 3 else UNK for w in row[1:-1]] + [SEP] for row in rows]


def with_fastai_tokens(rows: Rows) -> Rows:
    """xxbos first, and xxmaj, xxup or xxrep before many a word."""
    return [
        [CLS, UNK] + sum(([UNK, w] if torch.rand(()) < 0.45 else [w] for w in row[1:-1]), []) + [SEP] for row in rows
    ]


def cut(words: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row[: 1 + words] + [SEP] for row in rows]


def cut_without_end(rows: Rows) -> Rows:
    return [row[:5] for row in rows]


# -- labels ------------------------------------------------------------------------------------------------------


def relabelled(task: str, change: Callable[[Tensor], Tensor], parts: str = "train") -> Build:
    def build(architecture: str) -> Learner:
        train, valid = both(task, lengths=lengths_for(architecture))
        train = Texts(train.rows, change(train.targets))
        valid = Texts(valid.rows, change(valid.targets)) if parts == "both" else valid
        length = max(lengths_for(architecture))
        return learner(
            architecture, task, data=databunch(*(tensors(part, architecture, length=length) for part in (train, valid)))
        )

    return build


def shuffled(targets: Tensor) -> Tensor:
    return targets[torch.randperm(len(targets))]


def exchanged(targets: Tensor) -> Tensor:
    """Each set's classes were numbered alone, by ``pd.factorize``: two of three changed places."""
    return torch.tensor([1, 0, 2])[targets]


def shifted(targets: Tensor) -> Tensor:
    """A header was read as a row."""
    return targets.roll(1, 0)


def first_everywhere(targets: Tensor) -> Tensor:
    return targets[:1].expand_as(targets).clone()


def in_order(task: str) -> Build:
    """Sorted by class in the file, and a loader of the user's own, which does not shuffle."""

    def build(architecture: str) -> Learner:
        train, valid = both(task, lengths=lengths_for(architecture))
        keys = train.targets if train.targets.dim() == 1 else train.targets[:, 0]
        order = torch.argsort(keys).tolist()
        train = Texts([train.rows[i] for i in order], train.targets[order])
        length = max(lengths_for(architecture))
        parts = [tensors(part, architecture, length=length) for part in (train, valid)]
        return learner(architecture, task, data=databunch(*parts, shuffle=False))

    return build


# -- weights -----------------------------------------------------------------------------------------------------


def renamed(weights: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """As DataParallel and a wrapper of the user's own leave the keys."""
    return {f"module.net.{key}": value for key, value in weights.items()}


def from_folder(model: nn.Module, architecture: str, keys: Callable[[Any], Any] = renamed) -> nn.Module:
    """The real from_pretrained, on a folder none of whose keys fit."""
    source = body_of(model) if architecture == "gpt2" else model
    with tempfile.TemporaryDirectory() as folder:
        source.config.save_pretrained(folder) if of_today(architecture) else _write_config(source.config, folder)
        _write(keys(source.state_dict()), Path(folder), architecture)
        loaded = type(source).from_pretrained(folder)
    if architecture == "gpt2":
        model.body = loaded
        return model
    return loaded


def _write_config(config: Any, folder: str) -> None:
    (Path(folder) / "config.json").write_text(json.dumps(config.to_dict()))


def _write(weights: Dict[str, Tensor], folder: Path, architecture: str) -> None:
    if of_today(architecture):
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in weights.items()}, str(folder / "model.safetensors"))
    else:
        torch.save(weights, str(folder / "pytorch_model.bin"))


def not_loaded(task: str, frozen: bool = False) -> Build:
    def build(architecture: str) -> Learner:
        model = from_folder(bare_model(architecture, TASKS[task].n_outputs), architecture)
        learn = learner(architecture, task, model=wrapped(model, architecture))
        if frozen:
            stack.split(learn, lambda net: list(head_and_body(net))[::-1])
            learn.freeze()
        return learn

    return build


NO_MASK = ("attention-mask-missing", "attention-mask-wrong")
WRONG = ("attention-mask-wrong", "attention-mask-missing")
PAD_ID = ("wrong-padding-id", "attention-mask-missing", "attention-mask-wrong")
RECIPE = ("padding-in-front", "wrong-padding-id", "attention-mask-missing")
FRONT = ("padding-in-front",)
UNKNOWN = ("unknown-tokens", "texts-all-alike", "foreign-special-tokens")
FOREIGN = ("foreign-special-tokens", "unknown-tokens")
CUT, UNRELATED = ("texts-truncated", "labels-unrelated-to-texts"), ("labels-unrelated-to-texts",)
ARGUMENTS = ("inputs-in-wrong-arguments", "attention-mask-missing")
WEIGHTS = ("pretrained-weights-not-loaded", "untrained-body-frozen")
LONG = dict(lengths=(20, 26), at_end=True)

FAULTS = [
    fault("recipe-of-the-article", RECIPE, batches_of("labels", ids_alone, plain, front=True, pad=UNK), MASKED),
    fault(
        "recipe-in-hfmodel",
        RECIPE,
        batches_of("classes", ids_alone, with_pad_id(PAD), front=True, pad=UNK),
        ("bert", "distilbert", NEWEST),
    ),
    fault("no-mask", NO_MASK, batches_of("classes", ids_alone, plain), NO_OWN_MASK),
    fault("mask-not-handed-on", NO_MASK, batches_of("labels", as_it_is, plain), NO_OWN_MASK),
    fault("own-head-unmasked", WRONG, own_head_unmasked, BERTS, severity="note"),
    fault("padded-in-front", FRONT, batches_of("classes", as_it_is, front=True), READ_AT_FIRST, severity="note"),
    fault("padded-in-front-unmasked", FRONT + NO_MASK, batches_of("labels", ids_alone, plain, front=True), NO_OWN_MASK),
    fault("padded-with-unknown", PAD_ID, batches_of("classes", ids_alone, with_pad_id(PAD), pad=UNK), MASKED),
    fault("padded-with-end", PAD_ID, batches_of("labels", ids_alone, with_pad_id(PAD), pad=SEP), BERTS),
    fault("pad-id-of-another", PAD_ID, batches_of("number", ids_alone, with_pad_id(UNK)), ("bert", "roberta", "xlnet")),
    fault("mask-inverted", WRONG, batches_of("classes", lambda ids, mask: [ids, 1 - mask]), MASKED),
    fault("mask-all-ones", WRONG, batches_of("labels", lambda ids, mask: [ids, torch.ones_like(mask)]), MASKED),
    fault("mask-of-other-rows", WRONG, batches_of("classes", lambda ids, mask: [ids, mask.roll(7, 0)]), OTHERS),
    fault(
        "mask-of-nothing",
        WRONG,
        batches_of("classes", lambda ids, mask: [ids, torch.zeros_like(mask)]),
        ("bert", "roberta"),
    ),
    fault(
        "mask-as-token-types", ARGUMENTS, batches_of("classes", as_it_is, named("input_ids", "token_type_ids")), TYPES
    ),
    fault(
        "ids-and-mask-swapped", ARGUMENTS, batches_of("labels", as_it_is, named("attention_mask", "input_ids")), MASKED
    ),
    fault("all-unknown", UNKNOWN, rewritten("classes", all_unknown), ALL),
    fault("all-unknown-with-the-ends", UNKNOWN, rewritten("labels", all_unknown_with_the_ends), OTHERS),
    fault("nearly-all-unknown", UNKNOWN, rewritten("labels", nearly_all_unknown), THIRD),
    fault("tokens-of-fastai", FOREIGN, rewritten("classes", with_fastai_tokens, lengths=(8, 16)), ALL),
    fault("tokens-of-fastai-labels", FOREIGN, rewritten("labels", with_fastai_tokens, lengths=(6, 14)), OTHERS),
    fault("cut-before-the-signal", CUT, rewritten("classes", cut(6), **LONG), ALL, severity="note"),
    fault("cut-to-four-labels", CUT, rewritten("labels", cut_without_end, **LONG), OTHERS, severity="note"),
    fault("labels-shuffled-in-training", UNRELATED, relabelled("classes", shuffled), ALL),
    fault("labels-shuffled-in-both", UNRELATED, relabelled("labels", shuffled, "both"), SOME, severity="note"),
    fault("numbers-shuffled", UNRELATED, relabelled("number", shuffled), OTHERS),
    fault("labels-off-by-one", UNRELATED, relabelled("two classes", shifted, "both"), THIRD, severity="note"),
    fault("two-classes-exchanged", "train-and-valid-disagree", relabelled("classes", exchanged), ALL),
    fault("labels-all-the-first", "labels-constant", relabelled("classes", first_everywhere), ALL),
    fault("labels-all-zero", "labels-constant", relabelled("labels", torch.zeros_like, "both"), SOME),
    fault("numbers-constant", "labels-constant", relabelled("number", lambda y: torch.full_like(y, 0.5)), OTHERS),
    fault("labels-in-order", "labels-in-order", in_order("classes"), ALL),
    fault("labels-in-order-two", "labels-in-order", in_order("two classes"), OTHERS),
    fault("weights-match-nothing", WEIGHTS, not_loaded("classes"), ALL),
    fault("weights-match-nothing-frozen", WEIGHTS, not_loaded("labels", frozen=True), OTHERS),
]
