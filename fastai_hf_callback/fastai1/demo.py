"""The demo on fastai 1: a tiny BERT from scratch on the bundled comments, everything offline."""
import tempfile
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
from fastai.basic_train import Learner
from pytorch_transformers import BertConfig, BertForSequenceClassification, BertTokenizer
from pytorch_transformers.tokenization_bert import BasicTokenizer

from ..comments import LABELS, comments
from ..pretrained import Pretrained
from ..table import Table, split_rows
from .factories import Split, table_factory

__all__ = ["STORY", "demo_factory", "demo_fit"]

N_COMMENTS, MAX_LEN, BATCH, EPOCHS, LR, SEED = 2000, 64, 32, 3, 3e-3, 0

STORY = f"""\
{N_COMMENTS} bundled comments with six labels, about 96 % zeros, as in the article; a BERT of two layers, from scratch.
The same training three times: through HFCallback, through the article's patched loop, and with an output cut from
the model (the broken arm, which must differ).
"""


def demo_factory() -> Callable[[], Learner]:
    """A function that makes the demo's learner, new each time."""
    made = comments(N_COMMENTS, SEED)
    texts = [comment.text for comment in made]
    table = Table(texts, np.array([comment.labels for comment in made], dtype=np.float32), list(LABELS))
    split = Split(table, *split_rows(len(texts), 0.2, SEED))
    return table_factory(split, _tiny_bert(texts), bs=BATCH, max_len=MAX_LEN)


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

    return Pretrained(_tokenizer(vocabulary), make_model, pad_id=0, max_positions=MAX_LEN)


def _vocabulary(texts: List[str]) -> List[str]:
    words = {word for text in texts for word in BasicTokenizer(do_lower_case=True).tokenize(text)}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]


def _tokenizer(vocabulary: List[str]) -> BertTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(vocabulary), encoding="utf-8")
        return BertTokenizer(str(path))
