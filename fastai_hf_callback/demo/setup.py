"""The demo's training data, vocabulary, BERT and the stories it prints.

Imports numpy and torch. ``fastaiN/demo.py`` adds its Hugging Face library and its ``Learner``.
"""

import re
import tempfile
from pathlib import Path
from typing import Any, Callable, ContextManager, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from fastai_hf_callback.data.batches.padding import pad_rows
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.tables.examples import LabeledSplits, read_examples
from fastai_hf_callback.model.pretrained import Pretrained

from .comments import LABELS, make_comments

__all__ = [
    "BATCH_SIZE",
    "MAX_LEN",
    "THRESHOLD",
    "DEMO_INTRO",
    "RECIPE_INTRO",
    "fit_demo",
    "build_demo_examples",
    "left_pad_collate",
    "build_tiny_bert",
    "train_article_recipe",
]

N_COMMENTS, MAX_LEN, BATCH_SIZE, EPOCHS, LR, SEED = 2000, 64, 32, 3, 3e-3, 0
THRESHOLD = 0.25  # the article's

# Both Hugging Face libraries use these names.
BERT_SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "max_position_embeddings": MAX_LEN,
}

DEMO_INTRO = f"""\
{N_COMMENTS} bundled comments with six labels, about 96 % zeros, as in the article; a BERT of two layers, from scratch.
The same training three times: through HFCallback, through the article's patched loop, and with an output cut from
the model (the broken arm, which must differ).
"""

RECIPE_INTRO = """
The article's own recipe feeds the same model as fastai 1's TextClasDataBunch does, whatever collate_fn it is given:
padded in front, with id 1, without a mask. Trained so for an epoch, the doctor (diagnose(learn)) says:
"""


def build_demo_examples() -> LabeledSplits:
    """Make the bundled comments, a fifth of them to validate on."""
    import pandas as pd

    made = make_comments(N_COMMENTS, SEED)
    table = pd.DataFrame([comment.labels for comment in made], columns=list(LABELS))
    return read_examples(table.assign(text=[comment.text for comment in made]), 0.2, "text", LABELS, seed=SEED)


def fit_demo(learn: Any) -> Any:
    """Train three epochs of one cycle."""
    return learn.fit_one_cycle(EPOCHS, LR)


# -- the model -------------------------------------------------------------------------------------------------


def build_tiny_bert(
    examples: LabeledSplits, make_tokenizer: Callable[[str], Any], config_class: Any, model_class: Callable[[Any], Any]
) -> Pretrained:
    """Build a tokenizer of these texts' words and a BERT for them, from scratch.

    Parameters
    ----------
    examples : LabeledSplits
    make_tokenizer : callable
        ``make_tokenizer(path)`` of a ``vocab.txt``.
    config_class : type
        The library's ``BertConfig``.
    model_class : callable
        ``model_class(config)``.
    """
    vocabulary = _build_vocabulary([*examples.train.texts, *examples.valid.texts])

    def make_model(n_outputs: int) -> Any:
        sizes = {**BERT_SIZES, "vocab_size": len(vocabulary), "num_labels": n_outputs}
        return model_class(config_class.from_dict(sizes))

    return Pretrained(_load_tokenizer(make_tokenizer, vocabulary), make_model, max_positions=MAX_LEN)


def _build_vocabulary(texts: Sequence[str]) -> List[str]:
    """List every word and punctuation mark, split as BERT's own tokenizer does; the comments are plain ASCII."""
    words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]


def _load_tokenizer(make_tokenizer: Callable[[str], Any], vocabulary: List[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(vocabulary), encoding="utf-8")
        return make_tokenizer(str(path))


# -- fed as the article's was ------------------------------------------------------------------------------------


class _TokenIdDataset(Dataset):
    """Token ids and a target per row."""

    def __init__(self, rows: Sequence[np.ndarray], targets: np.ndarray):
        self.rows, self.targets = rows, torch.as_tensor(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tuple[np.ndarray, Tensor]:
        return self.rows[i], self.targets[i]


def train_article_recipe(
    build_pretrained: Callable[[LabeledSplits], Pretrained],
    make_learner: Callable[[Dataset, Dataset, nn.Module], Any],
    no_progress: Callable[[Any], ContextManager[Any]],
) -> Any:
    """Train a learner for one epoch, fed as the article's was, on the bare model.

    Parameters
    ----------
    build_pretrained : callable
        ``build_pretrained(examples)``.
    make_learner : callable
        ``make_learner(train, valid, model)``, whose batches ``left_pad_collate`` makes.
    no_progress : callable
        This fastai's.
    """
    examples = build_demo_examples()
    source = build_pretrained(examples)
    train, valid = _build_article_datasets(examples, source.tokenizer)
    learn = make_learner(train, valid, source.make_model(len(LABELS)))
    with no_progress(learn):
        learn.fit_one_cycle(1, LR)
    return learn


def _build_article_datasets(examples: LabeledSplits, tokenizer: Any) -> Tuple[Dataset, Dataset]:
    """Return training and validation rows, each (ids, target), for batches made by ``left_pad_collate``."""
    encoder = TextEncoder(tokenizer, MAX_LEN)
    train, valid = (
        _TokenIdDataset([row.input_ids for row in encoder.encode(part.texts)], part.targets)
        for part in (examples.train, examples.valid)
    )
    return train, valid


def left_pad_collate(items: Sequence[Tuple[np.ndarray, Tensor]]) -> Tuple[Tensor, Tensor]:
    """Collate as fastai 1's own ``pad_collate`` does by default: padded in front, with id 1, without a mask."""
    rows, targets = zip(*items)
    return pad_rows(rows, 1, "left"), torch.stack(targets)
