"""The model and its forward."""

import copy
import inspect
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.faults.fault import LAST_WORD, Reader, body_for, hidden_states, position_for
from tests.faults.reported.kind import Learner, fitting, kind
from tests.faults.stacks import stack
from tests.faults.tasks import TASKS, bare_model, body_of, both, databunch, learner, padded

WIDTH = 16
Build = Callable[[str, bool], Learner]
TODAY = ("bert of transformers 5", "roberta of transformers 5") if stack.NAME == "fastai 2" else (stack.NEWEST,)
PADDED_DECODERS = tuple(name for name in ("gpt2", "xlm") if stack.named(name) in stack.MASKED)


def reading(broken_kind: Any, sound_kind: Any = Reader, task: str = "classes", **settings: Any) -> Build:
    """A head of the user's own on a pretrained body, and the one that was meant."""

    def build(architecture: str, broken: bool) -> Learner:
        make = broken_kind if broken else sound_kind
        model = make(body_for(architecture), TASKS[task].n_outputs, position_for(architecture))
        return learner(architecture, task, model=model, **settings)

    return build


# -- the head ----------------------------------------------------------------------------------------------------


class Checkpointed(Reader):
    """Spares memory; none of what is handed to the checkpoint requires a gradient, so none comes out."""

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        reentrant = {"use_reentrant": True} if "use_reentrant" in inspect.getsource(checkpoint) else {}
        return checkpoint(super().features, ids, mask, **reentrant)


class Rectified(Reader):
    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return super().forward(ids, mask).relu()


class AlwaysDropping(Reader):
    """The function knows nothing of ``model.eval()``."""

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return functional.dropout(super().forward(ids, mask), 0.5)


class Dropping(Reader):
    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return functional.dropout(super().forward(ids, mask), 0.5, self.training)


class Normalised(Reader):
    """Batch normalisation before the classifier."""

    momentum = 0.1

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.norm = nn.BatchNorm1d(WIDTH, momentum=self.momentum)

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.norm(30 + 5 * super().features(ids, mask))


class NormalisedWithoutMomentum(Normalised):
    momentum = 0.0


class Initialised(Reader):
    """Means its own layer, and applies to the body what was loaded before."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.apply(initialise)


def initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        module.weight.data.normal_(0, 0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        module.bias.data.zero_()


class TwoLayers(Reader):
    def __init__(self, body: nn.Module, n_outputs: int, position: Any):
        super().__init__(body, n_outputs, position)
        self.score = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_outputs))


class TwoLayersOfNoughts(TwoLayers):
    def __init__(self, *args: Any):
        super().__init__(*args)
        for parameter in self.score.parameters():
            nn.init.zeros_(parameter)


# -- where and what the head reads -------------------------------------------------------------------------------


def with_config(model: nn.Module, **settings: Any) -> nn.Module:
    """The same weights in a model of another configuration."""
    config = copy.deepcopy(model.config)
    for name, value in settings.items():
        setattr(config, name, value)
    again = type(model)(config)
    again.load_state_dict(model.state_dict())
    return again


def decoder(architecture: str) -> nn.Module:
    """A pretrained body in which a word sees those before it."""
    model = bare_model(architecture, 2)
    return body_of(with_config(model, causal=True) if architecture.startswith("xlm") else model)


def decoder_read_at_first(architecture: str, broken: bool) -> Learner:
    last = LAST_WORD if stack.named(architecture) in stack.MASKED else -1
    model = Reader(decoder(architecture), TASKS["classes"].n_outputs, 0 if broken else last)
    return learner(architecture, "classes", model=model)


class Counted(Reader):
    """The number of words less one is where the last stands, if the padding is behind them."""

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        states = hidden_states(self.body, ids, mask)
        return states[torch.arange(len(states)), mask.sum(1).long() - 1]


def last_word_counted(architecture: str, broken: bool) -> Learner:
    parts = [[*padded(part.rows, length=20, front=broken), part.targets] for part in both("classes")]
    model = Counted(decoder(architecture), TASKS["classes"].n_outputs, None)
    return learner(architecture, "classes", model=model, data=databunch(*parts))


class Viewed(Reader):
    """Means to put the positions first."""

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        states = hidden_states(self.body, ids, mask).contiguous()
        return states.view(states.size(1), states.size(0), -1)[self.position]


class Transposed(Reader):
    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return hidden_states(self.body, ids, mask).transpose(0, 1)[self.position]


class OfLayer(Reader):
    layer = -1

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        states = self.body(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        return states[self.layer][:, self.position]


class OfEmbeddings(OfLayer):
    """The first of the hidden states is what the embeddings give."""

    layer = 0


def left_as_decoder(architecture: str, broken: bool) -> Learner:
    body = body_of(with_config(bare_model(architecture, 2), is_decoder=broken))
    return learner(architecture, "classes", model=Reader(body, TASKS["classes"].n_outputs, 0))


class Watched(Reader):
    """Keeps what the body gives, for a plot; what a hook returns takes the output's place."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.kept = []
        self.body.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.kept[:] = [output[0].detach()]
        return self.kept


KINDS = [
    kind(
        "checkpoint-of-ids",
        "model",
        "huggingface/transformers issue 21381, https://discuss.pytorch.org/t/19117",
        "with gradient checkpointing and nothing below that requires a gradient, the body gets none",
        reading(Checkpointed),
    ),
    kind(
        "decoder-read-at-its-first-word",
        "model",
        "salesforce/progen issue 8, https://github.com/salesforce/progen/issues/8",
        "a head on the first position of a decoder predicts the same whatever the text",
        decoder_read_at_first,
        ("gpt2", "xlm"),
    ),
    kind(
        "last-word-counted-from-the-left",
        "model",
        "huggingface/transformers pull request 46782 (BioGptForSequenceClassification)",
        "texts padded on the left, pooled at the number of words less one: another position, in silence",
        last_word_counted,
        PADDED_DECODERS,
    ),
    kind(
        "relu-on-a-number",
        "model",
        "https://ai.stackexchange.com/questions/20686/does-net-with-relu-not-learn-when-output-0",
        "a ReLU after the last layer: no output below nought, and no gradient where there should be one",
        reading(Rectified, task="number"),
    ),
    kind(
        "dropout-that-never-ends",
        "model",
        "pytorch/pytorch issue 26338",
        "F.dropout without training=self.training goes on in eval mode",
        reading(AlwaysDropping, Dropping),
        ("bert", "distilbert"),
    ),
    kind(
        "batch-norm-without-momentum",
        "model",
        "Cadene/pretrained-models.pytorch issue 5",
        "BatchNorm ported with momentum 0: running statistics stay at their start, eval is far off training",
        reading(NormalisedWithoutMomentum, Normalised),
    ),
    kind(
        "initialised-after-loading",
        "weights",
        "huggingface/transformers issue 35141",
        "weights that were loaded are overwritten by an initialisation that comes later",
        reading(Initialised),
        ("bert", "distilbert"),
        fit=fitting(3, 2e-3),
    ),
    kind(
        "head-of-noughts",
        "weights",
        "https://community.deeplearning.ai/t/121049",
        "two layers initialised with zeros never learn",
        reading(TwoLayersOfNoughts, TwoLayers),
    ),
    kind(
        "view-for-transpose",
        "model",
        "Karpathy, A Recipe for Training Neural Networks, http://karpathy.github.io/2019/04/25/recipe/",
        "view instead of transpose mixes information across the batch",
        reading(Viewed, Transposed),
        ("bert", "distilbert"),
    ),
    kind(
        "embeddings-for-the-last-layer",
        "model",
        "https://huggingface.co/docs/transformers/main_classes/output (hidden_states)",
        "hidden_states[0] is the output of the embeddings; the first position is the same in every text",
        reading(OfEmbeddings, OfLayer),
        TODAY,
    ),
    kind(
        "is-decoder-left-on",
        "model",
        "https://huggingface.co/docs/transformers/main_classes/configuration (is_decoder)",
        "an encoder made a decoder: its first position sees no word of the text",
        left_as_decoder,
        TODAY,
    ),
    kind(
        "hook-that-returns",
        "model",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html (register_forward_hook)",
        "a hook meant to look returns what it keeps, and the output is exchanged for it",
        reading(Watched),
    ),
]
