"""Targets: of language models, of words, of numbers."""

from typing import Any, Callable, List

import torch
from torch import Tensor, nn

from tests.faults.fault import Reader, body_for, hidden_states
from tests.faults.reported.kind import NOT_TARGETS, Learner, fitting, kind
from tests.faults.reported.models import decoder
from tests.faults.stacks import stack
from tests.faults.tasks import CLS, FIRST_WORD, LABEL_WORDS, PAD, SEP, both, databunch, learner, padded, tensors
from tests.tiny_models import VOCAB

ROWS, LENGTH, N_TAGS = 256, 12, 3
Build = Callable[[str, bool], Learner]
DECODERS = ("gpt2", "xlm")


class PerWord(Reader):
    """A head on every position."""

    def forward(self, ids: Tensor, mask: Any = None) -> Tensor:
        return self.score(hidden_states(self.body, ids, mask))


def flat_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=NOT_TARGETS)


def right_words(output: Tensor, target: Tensor) -> Tensor:
    seen = target != NOT_TARGETS
    return (output.argmax(-1) == target)[seen].float().mean()


# -- the next word -----------------------------------------------------------------------------------------------


def chains(n: int, following: List[int]) -> Tensor:
    """Texts in which each word tells the next."""
    words = [torch.randint(FIRST_WORD, VOCAB, (n,))]
    for _ in range(LENGTH - 1):
        words.append(torch.tensor(following)[words[-1]])
    return torch.stack(words, 1)


def next_word(shift: int) -> Build:
    """`shift` positions on in training, one in what is validated."""

    def build(architecture: str, broken: bool) -> Learner:
        order = torch.randperm(VOCAB - FIRST_WORD) + FIRST_WORD
        following = list(range(VOCAB))
        for here, there in zip(order.tolist(), order.roll(1).tolist()):
            following[here] = there
        parts = []
        for n, by in ((ROWS, shift if broken else 1), (ROWS // 2, 1)):
            ids = chains(n, following)
            target = torch.full_like(ids, NOT_TARGETS)
            target[:, : LENGTH - by] = ids[:, by:]
            mask = [] if stack.named(architecture) not in stack.MASKED else [torch.ones_like(ids)]
            parts.append([ids, *mask, target])
        model = PerWord(decoder(architecture), VOCAB, None)
        return learner(
            architecture, model=model, data=databunch(*parts), loss_func=flat_cross_entropy, metrics=[right_words]
        )

    return build


# -- a tag for each word -----------------------------------------------------------------------------------------


def tag_of(word: int) -> int:
    """Which words tell a class: 1 or 2, or neither."""
    return 1 if word in LABEL_WORDS[0] else 2 if word in LABEL_WORDS[1] else 0


def tagged(offset: int = 0, pad_to: int = 20, noise: float = 0.0, counts_padding: bool = False) -> Build:
    """`offset`: by how many positions the training tags stand before their words, where it is broken.

    `counts_padding`: what is no word is tagged as most words are, instead of being left out.
    """

    def build(architecture: str, broken: bool) -> Learner:
        parts = []
        for part, by in zip(both("two classes"), (offset if broken else 0, 0)):
            ids, mask = padded(part.rows, length=pad_to)
            tags = torch.tensor([[tag_of(int(i)) for i in row] for row in ids])
            tags = torch.where(torch.rand(tags.shape) < noise, torch.randint(0, N_TAGS, tags.shape), tags)
            special = (ids == CLS) | (ids == SEP) | (ids == PAD)
            target = tags.roll(-by, 1).masked_fill(special, 0 if broken and counts_padding else NOT_TARGETS)
            parts.append([ids, mask, target])
        model = PerWord(body_for(architecture), N_TAGS, None)
        return learner(
            architecture,
            model=model,
            data=databunch(*parts),
            loss_func=flat_cross_entropy,
            metrics=[right_words],
        )

    return build


def balanced(learn: Learner) -> float:
    """The mean of the three tags' recall: most words have none."""
    seen = stack.evaluate(learn)
    outputs, targets = torch.cat(list(seen.outputs)), torch.cat(list(seen.targets))
    said = outputs.argmax(-1)
    return sum(float((said == k)[targets == k].float().mean()) for k in range(N_TAGS)) / N_TAGS


# -- a number ----------------------------------------------------------------------------------------------------


def scaled_in_training(architecture: str, broken: bool) -> Learner:
    train, valid = (tensors(part, architecture, length=20) for part in both("number"))
    train[-1], valid[-1] = 50 + 10 * train[-1], 50 + 10 * valid[-1]
    mean, spread = train[-1].mean(), train[-1].std()
    train[-1] = (train[-1] - mean) / spread
    if not broken:
        valid[-1] = (valid[-1] - mean) / spread
    return learner(architecture, "number", data=databunch(train, valid))


KINDS = [
    kind(
        "next-word-shifted-twice",
        "targets",
        "huggingface/transformers pull request 44642, issue 32944",
        "labels are shifted by the user and again by the loss: the word after the next is learnt",
        next_word(2),
        DECODERS,
        fit=fitting(8, 1e-2),
    ),
    kind(
        "next-word-not-shifted",
        "targets",
        "huggingface/transformers issue 3711",
        "labels are the inputs and nobody shifts them: the model copies its input and the loss goes to nought",
        next_word(0),
        DECODERS,
        fit=fitting(8, 1e-2),
    ),
    kind(
        "tags-one-word-early",
        "targets",
        "https://huggingface.co/docs/transformers/tasks/token_classification",
        "special tokens added by the tokenizer make a mismatch between words and their labels",
        tagged(offset=1),
        fit=fitting(4, 3e-3),
        score=balanced,
    ),
    kind(
        "scaled-in-training-only",
        "targets",
        "chemprop/chemprop issue 512",
        "targets are scaled in training and not in what is tested: the error is wildly inflated",
        scaled_in_training,
    ),
]
