"""Losses of heads whose outputs and targets are not aligned: spans, and the next token. Imports torch.

Both fastais take them as ``loss_func``; fastai 2 uses ``reduction``, ``activation`` and ``decodes``.
"""

from typing import Any

from torch import Tensor, nn

from fastai_hf_callback.data.batches.padding import IGNORE_INDEX
from fastai_hf_callback.data.batches.token_labels import CrossEntropyLoss
from fastai_hf_callback.errors import InvalidInputError

from .output import describe
from .question_answering import best_spans, stack_logits, stack_targets

__all__ = ["NextTokenLoss", "SpanLoss"]


class SpanLoss(nn.Module):
    """Mean cross entropy of where an answer begins and where it ends, for ``...ForQuestionAnswering`` models.

    Parameters
    ----------
    reduction : str
        ``"mean"``, ``"sum"``, or ``"none"`` for one value per row.

    Notes
    -----
    Called with the outputs, float ``(rows, 2, width)`` or a pair of ``(rows, width)``, and the targets, int64
    ``(rows, 2)`` or two of ``(rows,)``. Targets of -100 are left out; the loss of a batch without any other is 0.
    """

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, outputs: Any, *targets: Tensor) -> Tensor:
        logits, spans = stack_logits(outputs), stack_targets(targets)
        losses = CrossEntropyLoss(ignore_index=IGNORE_INDEX, reduction=self.reduction)(
            logits.reshape(-1, logits.shape[-1]), spans.reshape(-1)
        )
        return losses.view(-1, 2).mean(1) if self.reduction == "none" else losses

    def activation(self, outputs: Any) -> Any:
        """Return probabilities, in the form of `outputs`."""
        if isinstance(outputs, (tuple, list)):
            return tuple(part.softmax(-1) for part in outputs)
        return outputs.softmax(-1)

    def decodes(self, probabilities: Any) -> Tensor:
        """Return the most probable span of each row, int64, ``(rows, 2)``."""
        return best_spans(stack_logits(probabilities).log())


class NextTokenLoss(nn.Module):
    """Cross entropy of each token given those before it, for ``...ForCausalLM`` models.

    Parameters
    ----------
    reduction : str
        ``"mean"`` or ``"sum"`` over tokens, or ``"none"`` for each row's mean.

    Notes
    -----
    Called with logits, float ``(rows, width, vocabulary)``, and the token ids themselves as targets, int64
    ``(rows, width)``, -100 where there is nothing to learn (padding): the shift by one happens here, as in the models'
    own loss. Metrics see the same unshifted targets: write ``WordAccuracy(ahead=1)``, or fastai's ``Perplexity()``.
    """

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, logits: Tensor, ids: Tensor) -> Tensor:
        if logits.dim() != 3 or logits.shape[:2] != ids.shape:
            raise InvalidInputError(
                f"{describe(logits)} and {describe(ids)} were given for the next token; expected float "
                f"(rows, width, vocabulary) and int64 (rows, width), the token ids themselves"
            )
        logits, ids = logits[:, :-1], ids[:, 1:]
        losses = CrossEntropyLoss(ignore_index=IGNORE_INDEX, reduction=self.reduction)(
            logits.reshape(-1, logits.shape[-1]), ids.reshape(-1)
        )
        if self.reduction != "none":
            return losses
        return losses.view(ids.shape).sum(1) / (ids != IGNORE_INDEX).sum(1).clamp(min=1).to(losses.dtype)

    def activation(self, logits: Tensor) -> Tensor:
        """Return probabilities, float ``(rows, width, vocabulary)``."""
        return logits.softmax(-1)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Return for each position the predicted next token, int64, ``(rows, width)``."""
        return probabilities.argmax(-1)
