"""A cell's learner, as a user would write it, and its fit."""

from pathlib import Path
from typing import Any, List, NamedTuple

import fastai.callback.schedule  # noqa: F401  fit_one_cycle and its like
import torch
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, accuracy_multi, mae
from torch import Tensor, nn

from fastai_hf_callback import HFCallback, HFModel, WordAccuracy, layer_groups, text_data
from tests.today.cells import Cell
from tests.today.checkpoints import family_of, load_model, make_tokenizer, write_checkpoint
from tests.today.texts import KINDS, label_columns, make_table

__all__ = ["Setting", "fit", "make_loss", "setting_of", "TOP_RATES"]

TRAIN_ROWS, VALID_ROWS, BATCH = 320, 96, 16
EPOCHS = {"full": 4, "LoRA": 5, "frozen body": 10}
TOP_RATES = {"full": 4e-3, "LoRA": 1e-2, "frozen body": 2e-2}
METRICS = {"classes": [accuracy], "labels": [accuracy_multi], "number": [mae], "tokens": [WordAccuracy]}


class Setting(NamedTuple):
    """All that the learners of a cell are made of."""

    cell: Cell
    checkpoint: Path
    data: Any

    def make_model(self) -> nn.Module:
        """Load the checkpoint; with LoRA, put the adapters in."""
        model = load_model(self.checkpoint, self.cell.task, num_labels=self.data.c)
        return add_lora(model, self.cell) if self.cell.training == "LoRA" else model

    def make_learner(self) -> Learner:
        """Make a new learner on a new model."""
        model = HFModel(self.make_model(), inputs=self.data.inputs)
        learn = Learner(
            self.data,
            model,
            loss_func=make_loss(self.cell),
            metrics=[metric() if isinstance(metric, type) else metric for metric in METRICS[self.cell.task]],
            cbs=[HFCallback()],
            splitter=layer_groups,
            train_bn=self.cell.training != "frozen body",  # LayerNorms are the body's
        )
        learn.remove_cb(ProgressCallback)
        learn.logger = _no_table
        return learn


def setting_of(cell: Cell, folder: Path) -> Setting:
    """Write the checkpoint, if it is not there yet, and read the texts."""
    family = family_of(cell.family, cell.task)
    data = text_data(
        make_table(cell.task, TRAIN_ROWS, seed=0),
        make_table(cell.task, VALID_ROWS, seed=1),
        make_tokenizer(family),
        text="text",
        labels=label_columns(cell.task),
        bs=BATCH,
        path=folder,
        device=torch.device("cpu"),
        progress=False,
    )
    return Setting(cell, write_checkpoint(family, cell.precision, folder), data)


def fit(learn: Learner, cell: Cell) -> None:
    """Train as is usual: one cycle; with LoRA fastai's ``fine_tune``; a frozen body under ``freeze``."""
    rate, epochs = TOP_RATES[cell.training], EPOCHS[cell.training]
    if cell.training == "LoRA":
        learn.fine_tune(epochs, rate)
        return
    if cell.training == "frozen body":
        learn.freeze()
    learn.fit_one_cycle(epochs, rate)


def add_lora(model: nn.Module, cell: Cell) -> nn.Module:
    """Freeze the body, and put small trainable matrices next to it."""
    import peft

    family = family_of(cell.family, cell.task)
    return peft.get_peft_model(
        model,
        peft.LoraConfig(
            task_type="TOKEN_CLS" if cell.task == "tokens" else "SEQ_CLS",
            r=4,
            target_modules=list(family.adapted),
            modules_to_save=list(family.head) or None,
            fan_in_fan_out=family.kind == "GPT2",
        ),
    )


# -- losses ------------------------------------------------------------------------------------------------------------


class WeightedSquares(nn.Module):
    """A loss of a user's own: high numbers count twice."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = outputs.reshape(targets.shape)
        return ((outputs - targets) ** 2 * (1 + (targets > 3).float())).mean()


class WordLoss(nn.CrossEntropyLoss):
    """torch's loss for a label per word: it wants the classes second."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().forward(outputs.transpose(1, 2), targets)


def make_loss(cell: Cell) -> Any:
    """Make the loss that the learner is given; None is the task's own, as ``text_data`` says it."""
    weights: List[float] = [1.0 + i for i in range(len(KINDS))]
    if cell.loss == "fastai's loss":
        return None
    if cell.loss == "torch's loss":
        return {
            "classes": nn.CrossEntropyLoss,
            "labels": nn.BCEWithLogitsLoss,
            "number": nn.MSELoss,
            "tokens": WordLoss,
        }[cell.task]()
    return {
        "classes": lambda: nn.CrossEntropyLoss(weight=torch.tensor(weights)),
        "labels": lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights)),
        "number": WeightedSquares,
        "tokens": lambda: CrossEntropyLossFlat(weight=torch.tensor([*weights, 1.0]), axis=-1),
    }[cell.task]()


def _no_table(*values: Any) -> None:
    pass
