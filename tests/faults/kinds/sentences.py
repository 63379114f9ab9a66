"""Whole texts: several outputs, choices, teachers, embeddings, metrics that a callback fills, losses of the model."""

from functools import partial
from typing import Any, List, Tuple

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.metrics import ValueMetric, accuracy
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DataCollatorWithPadding, default_data_collator

from .kind import Kind, Spec
from .language_models import make_tokenizer, take_own_loss
from .learners import make_learner, make_loaders
from .texts import CLS, SEP, bare, draw_lengths, draw_words, frame, pad_with_mask

N_CLASSES = 3
ENCODERS = ("bert", "roberta", "distilbert", "electra", "modernbert")
IDS_AND_MASK = ("input_ids", "attention_mask")


def draw_texts(n: int, spec: Spec) -> Tuple[List[Tensor], Tensor]:
    """Texts, and the class that one word of each tells."""
    classes = torch.randint(0, N_CLASSES, (n,))
    rows = []
    for length, kind in zip(draw_lengths(n, spec["lengths"]), classes.tolist()):
        words = draw_words(length, first=8)
        words[int(torch.randint(0, length, (1,)))] = 5 + kind
        rows.append(frame(words))
    return rows, classes


def two_sets(spec: Spec, draw: Any) -> Tuple[Any, Any]:
    """Training and validation rows."""
    return draw(spec["rows"]), draw(spec["valid_rows"])


class Pooled(nn.Module):
    """A body, and the mean of its states; heads are the subclasses'."""

    def __init__(self, architecture: str):
        super().__init__()
        whole = bare(architecture, "SequenceClassification")
        self.body, self.config = whole.base_model, whole.config

    def pool(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask[..., None].to(states.dtype)
        return (states * kept).sum(1) / kept.sum(1)


# -- several outputs --------------------------------------------------------------------------------------------


class TwoHeads(Pooled):
    """A class and a number."""

    def __init__(self, architecture: str, joined: bool):
        super().__init__(architecture)
        self.kind, self.number, self.joined = nn.Linear(32, N_CLASSES), nn.Linear(32, 1), joined

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        pooled = self.pool(input_ids, attention_mask)
        outputs = self.kind(pooled), self.number(pooled)
        return torch.cat(outputs, 1) if self.joined else outputs


def loss_of_both(outputs: Any, kinds: Tensor, numbers: Tensor) -> Tensor:
    if isinstance(outputs, Tensor):
        outputs = outputs[:, :N_CLASSES], outputs[:, N_CLASSES:]
    return F.cross_entropy(outputs[0], kinds) + F.mse_loss(outputs[1].squeeze(-1), numbers)


def accuracy_of_kind(outputs: Any, kinds: Tensor, numbers: Tensor) -> Tensor:
    kind = outputs[:, :N_CLASSES] if isinstance(outputs, Tensor) else outputs[0]
    return (kind.argmax(-1) == kinds).float().mean()


def build_two_heads(spec: Spec) -> Learner:
    def draw(n: int) -> List[Any]:
        rows, classes = draw_texts(n, spec)
        numbers = torch.tensor([float((row == 8).sum()) for row in rows])
        return list(zip(*pad_with_mask(rows), classes, numbers))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    model = TwoHeads(spec["architecture"], spec["outputs"] == "one tensor")
    metrics = [accuracy_of_kind] if spec["metrics"] == "own" else []
    element = None if spec["outputs"] == "one tensor" else (0, 1)
    return make_learner(spec, dls, model, loss_of_both, metrics, inputs=IDS_AND_MASK, element=element)


# -- multiple choice --------------------------------------------------------------------------------------------


def build_choices(spec: Spec) -> Learner:
    """A question and four endings; the right one repeats the question's word. A row is choices by length."""

    def draw(n: int) -> List[Any]:
        rows, right = [], torch.randint(0, spec["choices"], (n,))
        for length, at in zip(draw_lengths(n, spec["lengths"]), right.tolist()):
            words = 8 + torch.randperm(24)[: spec["choices"]]
            for i in range(spec["choices"]):
                ending = draw_words(length, first=32)
                ending[int(torch.randint(0, length, (1,)))] = 5 if i == at else words[i]
                rows.append(
                    torch.cat(
                        [torch.tensor([CLS]), words[at : at + 1], torch.tensor([SEP]), ending, torch.tensor([SEP])]
                    )
                )
        ids, mask = (t.view(n, spec["choices"], -1) for t in pad_with_mask(rows))
        return list(zip(ids, mask, right))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    model = bare(spec["architecture"], "MultipleChoice")
    metrics = [accuracy] if spec["metrics"] == "accuracy" else []
    return make_learner(spec, dls, model, nn.CrossEntropyLoss(), metrics, inputs=IDS_AND_MASK)


# -- distillation -----------------------------------------------------------------------------------------------


class Student(nn.Module):
    """A student that also hands on its teacher's logits, which came with the inputs."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor, teacher: Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits, teacher


def compare_softly(logits: Tensor, teacher: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(logits / 2, -1), F.softmax(teacher / 2, -1), reduction="batchmean") * 4


def loss_with_teacher(logits: Tensor, classes: Tensor, teacher: Tensor) -> Tensor:
    return 0.5 * F.cross_entropy(logits, classes) + 0.5 * compare_softly(logits, teacher)


def loss_of_pair(outputs: Any, classes: Tensor) -> Tensor:
    return loss_with_teacher(outputs[0], classes, outputs[1])


def accuracy_with_teacher(logits: Tensor, classes: Tensor, teacher: Tensor) -> Tensor:
    return (logits.argmax(-1) == classes).float().mean()


def accuracy_as_teacher(logits: Tensor, teacher: Tensor) -> Tensor:
    return (logits.argmax(-1) == teacher.argmax(-1)).float().mean()


def accuracy_of_pair(outputs: Any, classes: Tensor) -> Tensor:
    return (outputs[0].argmax(-1) == classes).float().mean()


def build_student(spec: Spec) -> Learner:
    def draw(n: int) -> List[Any]:
        rows, classes = draw_texts(n, spec)
        teacher = 3 * F.one_hot(classes, N_CLASSES) + torch.randn(n, N_CLASSES)
        columns = {
            "among targets": (classes, teacher),
            "the only target": (teacher,),
            "among inputs": (teacher, classes),
        }[spec["teacher"]]
        return list(zip(*pad_with_mask(rows), *columns))

    model = bare(spec["architecture"], "SequenceClassification", N_CLASSES)
    if spec["teacher"] == "among inputs":
        dls = make_loaders(spec, *two_sets(spec, draw), n_inp=3)
        names = (*IDS_AND_MASK, "teacher")
        return make_learner(spec, dls, Student(model), loss_of_pair, [accuracy_of_pair], inputs=names, element=(0, 1))
    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    only = spec["teacher"] == "the only target"
    loss, metric = (compare_softly, accuracy_as_teacher) if only else (loss_with_teacher, accuracy_with_teacher)
    return make_learner(spec, dls, model, loss, [metric], inputs=IDS_AND_MASK)


# -- embeddings --------------------------------------------------------------------------------------------------


class TwoTowers(Pooled):
    """One body for both texts; every text of a batch against every other, or each pair alone."""

    def __init__(self, architecture: str, pairs: str):
        super().__init__(architecture)
        self.pairs, self.scale = pairs, nn.Parameter(torch.tensor(2.0))

    def forward(self, ids: Tensor, mask: Tensor, other_ids: Tensor, other_mask: Tensor) -> Any:
        one, other = (F.normalize(self.pool(*part), dim=-1) for part in ((ids, mask), (other_ids, other_mask)))
        if self.pairs == "all":
            return one @ other.T * self.scale.exp()
        return (one * other).sum(-1) if self.pairs == "cosine" else (one, other)


def draw_pairs(n: int, spec: Spec, wanted: Tensor) -> Tuple[Tensor, ...]:
    """Texts and others that say the same in other words, where it is wanted; else something else."""
    firsts = [draw_words(length, last=22) for length in draw_lengths(n, spec["lengths"])]
    others = [
        row.flip(0) + 17 if same else draw_words(len(row), first=22) for row, same in zip(firsts, wanted.tolist())
    ]
    return (*pad_with_mask([frame(row) for row in firsts]), *pad_with_mask([frame(row) for row in others]))


def contrast(similarities: Tensor, _: Any) -> Tensor:
    """In-batch negatives: the row's own partner stands on the diagonal; the target is not read."""
    return F.cross_entropy(similarities, torch.arange(len(similarities)))


def hits(similarities: Tensor, _: Any) -> Tensor:
    return (similarities.argmax(1) == torch.arange(len(similarities))).float().mean()


def build_contrastive(spec: Spec) -> Learner:
    def draw(n: int) -> List[Any]:
        dummy = {"zeros": torch.zeros(n).long(), "numbers of rows": torch.arange(n), "ones": torch.ones(n)}
        return list(zip(*draw_pairs(n, spec, torch.ones(n)), dummy[spec["dummy"]]))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=4)
    metrics = [hits] if spec["metrics"] == "hits" else []
    names = ("ids", "mask", "other_ids", "other_mask")
    return make_learner(spec, dls, TwoTowers(spec["architecture"], "all"), contrast, metrics, inputs=names)


def build_pairs(spec: Spec) -> Learner:
    """A similarity for each pair: of the cosine to the target, or fastai's towers against 1 and -1."""
    cosine = spec["loss"] == "mse of the cosine"

    def draw(n: int) -> List[Any]:
        wanted = torch.randint(0, 2, (n,))
        targets = wanted.float() if cosine else 2 * wanted.float() - 1
        return list(zip(*draw_pairs(n, spec, wanted), targets))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=4)
    model = TwoTowers(spec["architecture"], "cosine" if cosine else "both")
    names = ("ids", "mask", "other_ids", "other_mask")
    if cosine:
        return make_learner(spec, dls, model, nn.MSELoss(), [], inputs=names)
    return make_learner(spec, dls, model, embed_loss, [], inputs=names, element=(0, 1))


def embed_loss(outputs: Any, target: Tensor) -> Tensor:
    return F.cosine_embedding_loss(outputs[0], outputs[1], target)


# -- what a callback measures ------------------------------------------------------------------------------------


class MeasuresSpread(Callback):
    """A figure of one validation batch, once an epoch."""

    value = 0.0

    def after_validate(self) -> None:
        ids, mask, _ = next(iter(self.learn.dls.valid))
        with torch.no_grad():
            self.value = float(self.learn.model(ids, mask).logits.std(0).mean())


def build_value_metric(spec: Spec) -> Learner:
    def draw(n: int) -> List[Any]:
        rows, classes = draw_texts(n, spec)
        return list(zip(*pad_with_mask(rows), classes))

    measured = MeasuresSpread()
    filled = ValueMetric(lambda: measured.value, "measured")
    metrics = [accuracy, filled] if spec["metrics"] == "with accuracy" else [filled]
    model = bare(spec["architecture"], "SequenceClassification", N_CLASSES)
    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=2)
    return make_learner(spec, dls, model, nn.CrossEntropyLoss(), metrics, inputs=IDS_AND_MASK, callbacks=[measured])


# -- the model's own loss ----------------------------------------------------------------------------------------


def build_own_loss(spec: Spec) -> Learner:
    """Dicts as a collator of Hugging Face makes them, labels inside; the model computes its loss of them."""
    collator = DataCollatorWithPadding(make_tokenizer()) if spec["collator"] == "padding" else default_data_collator

    def draw(n: int) -> List[Any]:
        rows, classes = draw_texts(n, spec)
        return [
            {"input_ids": row.tolist(), "attention_mask": [1] * len(row), "labels": int(kind)}
            for row, kind in zip(rows, classes)
        ]

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=1, collate=partial(_collate_whole, collator))
    model = bare(spec["architecture"], "SequenceClassification", N_CLASSES)
    if spec["loss"] == "handed on":
        return make_learner(spec, dls, model, take_own_loss, inputs=(*IDS_AND_MASK, "labels"), unwraps=False)
    metrics = [accuracy] if spec["metrics"] == "accuracy" else []
    names = (*IDS_AND_MASK, "labels")
    return make_learner(spec, dls, model, nn.CrossEntropyLoss(), metrics, inputs=names, element="logits")


def _collate_whole(collator: Any, rows: List[Any]) -> Any:
    batch = dict(collator(rows))
    return {name: batch[name] for name in (*IDS_AND_MASK, "labels")}, batch["labels"]


# -- rows without padding ----------------------------------------------------------------------------------------


def build_packed(spec: Spec) -> Learner:
    """Rows cut from a stream: of one length, without padding; some begin or end alike by chance."""

    def draw(n: int) -> List[Any]:
        ids = 5 + torch.randint(0, spec["vocabulary"], (n, spec["width"]))
        return list(zip(ids, (ids[:, 0] > ids[:, 1]).long()))

    dls = make_loaders(spec, *two_sets(spec, draw), n_inp=1)
    model = bare(spec["architecture"], "SequenceClassification")
    metrics = [accuracy] if spec["metrics"] == "accuracy" else []
    return make_learner(spec, dls, model, nn.CrossEntropyLoss(), metrics, inputs=("input_ids",))


KINDS = [
    Kind(
        "several outputs",
        build_two_heads,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal", "short"),
            "outputs": ("one tensor", "two tensors"),
            "metrics": ("own", "none"),
        },
    ),
    Kind(
        "multiple choice",
        build_choices,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal"),
            "choices": (2, 4),
            "metrics": ("accuracy", "none"),
        },
    ),
    Kind(
        "distillation",
        build_student,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal", "short"),
            "teacher": ("among targets", "the only target", "among inputs"),
        },
    ),
    Kind(
        "contrastive",
        build_contrastive,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal", "short"),
            "dummy": ("zeros", "numbers of rows", "ones"),
            "metrics": ("hits", "none"),
        },
    ),
    Kind(
        "pairs",
        build_pairs,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal", "short"),
            "loss": ("mse of the cosine", "cosine embedding loss"),
        },
    ),
    Kind(
        "metric of a callback",
        build_value_metric,
        {"architecture": ENCODERS, "lengths": ("varied", "equal", "short"), "metrics": ("alone", "with accuracy")},
    ),
    Kind(
        "the model's own loss",
        build_own_loss,
        {
            "architecture": ENCODERS,
            "lengths": ("varied", "equal"),
            "collator": ("padding", "default"),
            "loss": ("handed on", "computed again"),
            "metrics": ("accuracy", "none"),
        },
        lambda spec: spec["collator"] == "padding" or spec["lengths"] == "equal",
    ),
    Kind(
        "rows without padding",
        build_packed,
        {
            "architecture": ENCODERS,
            "vocabulary": (4, 8, 15),
            "width": (8, 12, 16),
            "metrics": ("accuracy", "none"),
            "bs": (4, 8, 16),
        },
    ),
]
