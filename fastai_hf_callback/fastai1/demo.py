"""The demo on fastai 1: a tiny BERT from scratch on the bundled comments, everything offline."""
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, List, Sequence, Tuple

import numpy as np
import torch
from fastai.basic_data import DataBunch
from fastai.train import Learner  # which gives it fit_one_cycle
from pytorch_transformers import BertConfig, BertForSequenceClassification, BertTokenizer
from pytorch_transformers.tokenization_bert import BasicTokenizer
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..batching import pad_rows
from ..comments import LABELS, comments
from ..metrics import accuracy_thresh
from ..pretrained import Pretrained
from ..table import Table, split_rows
from ..text import TextEncoder
from .callback import HFCallback
from .factories import THRESHOLD, Split, table_factory
from .quiet import quiet

__all__ = ["STORY", "RECIPE_STORY", "demo_factory", "demo_fit", "recipe_after_an_epoch"]

N_COMMENTS, MAX_LEN, BATCH, EPOCHS, LR, SEED = 2000, 64, 32, 3, 3e-3, 0

STORY = f"""\
{N_COMMENTS} bundled comments with six labels, about 96 % zeros, as in the article; a BERT of two layers, from scratch.
The same training three times: through HFCallback, through the article's patched loop, and with an output cut from
the model (the broken arm, which must differ).
"""


RECIPE_STORY = """
The article's own recipe feeds the same model as fastai's TextClasDataBunch does, whatever collate_fn it is given:
padded in front, with id 1, without a mask. Trained so for an epoch, the doctor (diagnose(learn)) says:
"""


def demo_factory() -> Callable[[], Learner]:
    """A function that makes the demo's learner, new each time."""
    split = _split()
    return table_factory(split, _tiny_bert(split.table.texts), bs=BATCH, max_len=MAX_LEN)


def recipe_after_an_epoch() -> Learner:
    """A learner fed as the article's was, on the bare model, after one epoch."""
    split = _split()
    source = _tiny_bert(split.table.texts)
    rows = [row.ids for row in TextEncoder(source.tokenizer, MAX_LEN).encode(split.table.texts)]
    train, valid = (_Rows([rows[i] for i in which], split.table.targets[which]) for which in (split.train, split.valid))
    data = DataBunch.create(train, valid, bs=BATCH, num_workers=0, no_check=True, collate_fn=_in_front)
    learn = Learner(data, source.make_model(len(LABELS)), loss_func=nn.BCEWithLogitsLoss(), callbacks=[HFCallback()],
                    metrics=[partial(accuracy_thresh, thresh=THRESHOLD)])
    with quiet(learn):
        learn.fit_one_cycle(1, LR)
    return learn


class _Rows(Dataset):
    """Token ids and a target per row."""

    def __init__(self, rows: Sequence[np.ndarray], targets: np.ndarray):
        self.rows, self.targets = rows, torch.as_tensor(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tuple[np.ndarray, Tensor]:
        return self.rows[i], self.targets[i]


def _in_front(items: Sequence[Tuple[np.ndarray, Tensor]]) -> Tuple[Tensor, Tensor]:
    """As fastai's own ``pad_collate`` does by default."""
    rows, targets = zip(*items)
    return pad_rows(rows, 1, "left"), torch.stack(targets)


def _split() -> Split:
    made = comments(N_COMMENTS, SEED)
    table = Table([comment.text for comment in made], np.array([comment.labels for comment in made], dtype=np.float32),
                  list(LABELS))
    return Split(table, *split_rows(len(table.texts), 0.2, SEED))


def demo_fit(learn: Learner) -> Any:
    """Three epochs of one cycle."""
    return learn.fit_one_cycle(EPOCHS, LR)


def _tiny_bert(texts: List[str]) -> Pretrained:
    vocabulary = _vocabulary(texts)

    def make_model(n_outputs: int) -> BertForSequenceClassification:
        config = BertConfig(vocab_size_or_config_json_file=len(vocabulary), hidden_size=64, num_hidden_layers=2,
                            num_attention_heads=2, intermediate_size=256, max_position_embeddings=MAX_LEN,
                            num_labels=n_outputs)
        return BertForSequenceClassification(config)

    return Pretrained(_tokenizer(vocabulary), make_model, max_positions=MAX_LEN)


def _vocabulary(texts: List[str]) -> List[str]:
    words = {word for text in texts for word in BasicTokenizer(do_lower_case=True).tokenize(text)}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]


def _tokenizer(vocabulary: List[str]) -> BertTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(vocabulary), encoding="utf-8")
        return BertTokenizer(str(path))
