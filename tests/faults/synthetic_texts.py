"""Texts shaped as real ones, batches of them, and tiny models trained before on others. No fastai here."""

from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFModel, unwrap
from fastai_hf_callback.utils.rng import preserve_rng_state, seed_everything
from tests import tiny_models
from tests.tiny_models import VOCAB, tiny_model
from tests.weights_cache import load_or_train

PAD, UNK, CLS, SEP, FIRST_WORD = 0, 1, 2, 3, 5
ROWS, VALID_ROWS, BATCH, LENGTHS, WIDTH = 256, 128, 16, (6, 20), 16
RATES = (0.3, 0.2, 0.14, 0.1, 0.07, 0.05)  # of the six labels
PRETRAINING_STEPS = 250
NOISE = 0.08  # the share of rows whose words tell nothing of their class
N_OUTPUTS = {"classes": 3, "two classes": 2, "labels": 6, "number": 1}

Rows = List[List[int]]


class Texts(NamedTuple):
    rows: Rows
    targets: Tensor


# -- texts -------------------------------------------------------------------------------------------------------

# A language's words: their order by frequency has nothing to do with their ids, and those that tell are not common.
_BY_FREQUENCY = torch.randperm(VOCAB - FIRST_WORD, generator=torch.Generator().manual_seed(11)) + FIRST_WORD
LABEL_WORDS = _BY_FREQUENCY[12:30].view(6, 3)  # three words each, for up to six classes or labels
_BACKGROUND = torch.cat([_BY_FREQUENCY[:12], _BY_FREQUENCY[30:]])
_COMMONNESS = 1.0 / torch.arange(1.0, len(_BACKGROUND) + 1)


def texts(
    task: str,
    n: int,
    lengths: Tuple[int, int] = LENGTHS,
    shares: Optional[Sequence[float]] = None,
    at_end: bool = False,
) -> Texts:
    """`n` rows and their targets, drawn with torch's own generator.

    `shares` are of the classes, or the rates of the labels; `at_end` puts the words that tell at the end of a row.
    """
    draw = {"labels": _labels, "number": _numbers}.get(task, partial(_classes, n_classes=N_OUTPUTS[task]))
    told, targets = draw(n, shares)
    return Texts([_row(words, lengths, at_end) for words in told], targets)


def _classes(n: int, shares: Optional[Sequence[float]], n_classes: int) -> Tuple[Rows, Tensor]:
    weights = torch.tensor(shares or [1.0] * n_classes)
    targets = torch.multinomial(weights, n, replacement=True)
    seen = torch.where(torch.rand(n) < NOISE, torch.multinomial(weights, n, replacement=True), targets)
    return [_telling(k, 1 + int(torch.randint(3, ()))) for k in seen.tolist()], targets


def _labels(n: int, shares: Optional[Sequence[float]]) -> Tuple[Rows, Tensor]:
    targets = torch.rand(n, 6) < torch.tensor(shares or RATES)
    return [sum((_telling(k, 1) for k in range(6) if row[k]), []) for row in targets], targets.float()


def _numbers(n: int, shares: Optional[Sequence[float]]) -> Tuple[Rows, Tensor]:
    kinds = torch.randint(0, 3, (n, 3))  # up to three words: one that lowers, none, or one that raises
    told = [sum((_telling({0: 0, 2: 1}[k], 1) for k in row if k != 1), []) for row in kinds.tolist()]
    return told, (kinds - 1).float().sum(1, keepdim=True) / 1.4 + 0.1 * torch.randn(n, 1)


def _telling(kind: int, count: int) -> List[int]:
    return [int(LABEL_WORDS[kind, int(torch.randint(3, ()))]) for _ in range(count)]


def _row(told: List[int], lengths: Tuple[int, int], at_end: bool) -> List[int]:
    room = int(torch.randint(lengths[0], lengths[1] + 1, ())) - 2
    told = told[:room]
    words = torch.multinomial(_COMMONNESS, room, replacement=True)
    words = _BACKGROUND[words].tolist()[: room - len(told)] + told
    order = range(room) if at_end else torch.randperm(room).tolist()
    return [CLS] + [words[i] for i in order] + [SEP]


# -- batches -----------------------------------------------------------------------------------------------------


def padded(rows: Rows, pad: int = PAD, front: bool = False, length: Optional[int] = None) -> Tuple[Tensor, Tensor]:
    """Ids, all rows as long as the longest, and their mask."""
    length = length or max(map(len, rows))
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(length - len(row), None) if front else slice(0, len(row))
        ids[i, place], mask[i, place] = torch.tensor(row), 1
    return ids, mask


def both(task: str, n: int = ROWS, n_valid: int = VALID_ROWS, **kwargs: Any) -> List[Texts]:
    """Training and validation texts."""
    return [texts(task, n, **kwargs), texts(task, n_valid, **kwargs)]


def lengths_for(architecture: str) -> Tuple[int, int]:
    """gpt2 is read at its last position and takes no mask here, so its texts are all of one length."""
    return (12, 12) if architecture == "gpt2" else LENGTHS


def tensors(part: Texts, architecture: str = "bert", **padding: Any) -> List[Tensor]:
    """What a batch brings to `architecture`, and the targets last."""
    ids, mask = padded(part.rows, **padding)
    return [ids, part.targets] if architecture == "gpt2" else [ids, mask, part.targets]


# -- models ------------------------------------------------------------------------------------------------------


def bare_model(architecture: str, n_outputs: int, pretrained: bool = True) -> nn.Module:
    """A Hugging Face model: its body trained before on other texts, its last layer new."""
    config = {"pad_index": PAD} if architecture == "xlm" else {}
    model = tiny_model(architecture, n_outputs, **config)
    if pretrained:
        mine = model.state_dict()
        mine.update({k: v for k, v in _pretrained(architecture).items() if mine[k].shape == v.shape})
        model.load_state_dict(mine)
    return model


def body_of(model: nn.Module) -> nn.Module:
    """What is below the head; called with ids and mask it returns hidden states first."""
    for name in ("bert", "roberta", "distilbert", "transformer", "body"):
        if hasattr(model, name):
            return getattr(model, name)
    return model.base_model


PRETRAINED: Dict[str, Dict[str, Tensor]] = {}


def _pretrained(architecture: str) -> Dict[str, Tensor]:
    if architecture not in PRETRAINED:
        sources = (__file__, tiny_models.__file__)
        PRETRAINED[architecture] = load_or_train(architecture, lambda: pretrain(architecture), *sources)
    return PRETRAINED[architecture]


def pretrain(architecture: str) -> Dict[str, Tensor]:
    """Weights that know which kinds of words stand in a text: what pre-training gives, in seconds."""
    with preserve_rng_state():
        seed_everything(1234)
        kinds = torch.cat([LABEL_WORDS, _BACKGROUND[torch.randperm(len(_BACKGROUND))][:24].view(8, 3)])
        model = bare_model(architecture, len(kinds), pretrained=False)
        _spread(model)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(PRETRAINING_STEPS):
            told = torch.randint(FIRST_WORD, VOCAB, (48, 8)).tolist()
            rows = [_row(words, lengths_for(architecture), False) for words in told]
            inputs = padded(rows)[: 1 if architecture == "gpt2" else 2]
            present = (inputs[0][:, :, None, None] == kinds).any(3).any(1).float()
            loss = nn.functional.binary_cross_entropy_with_logits(unwrap(_call(model, inputs)), present)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.state_dict()


def _spread(model: nn.Module) -> None:
    """So narrow a model does not begin to learn from weights as small as a wide one's."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.2)


def _call(model: nn.Module, inputs: Sequence[Tensor]) -> Any:
    return model(**dict(zip(("input_ids", "attention_mask"), inputs)))


def wrapped(bare: nn.Module, architecture: str) -> HFModel:
    inputs = ("input_ids",) if architecture == "gpt2" else ("input_ids", "attention_mask")
    return HFModel(bare, inputs=inputs, pad_token_id=PAD)
