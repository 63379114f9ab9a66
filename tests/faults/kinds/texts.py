"""Rows of token ids, drawn from torch's random state, and tiny models for them."""

from typing import Any, List, Tuple

import torch
import transformers
from torch import Tensor

__all__ = [
    "CLS",
    "FIRST_WORD",
    "MASK",
    "PAD",
    "SEP",
    "VOCAB",
    "bare",
    "draw_lengths",
    "draw_words",
    "frame",
    "pad_rows",
]

PAD, UNK, CLS, SEP, MASK, FIRST_WORD, VOCAB = 0, 1, 2, 3, 4, 5, 40
WIDTH = 32


def draw_lengths(n: int, lengths: str) -> List[int]:
    """Numbers of words: ``varied``, ``equal``, or ``short``."""
    low, high = {"varied": (6, 16), "equal": (12, 12), "short": (3, 6)}[lengths]
    return torch.randint(low, high + 1, (n,)).tolist()


def draw_words(n: int, first: int = FIRST_WORD, last: int = VOCAB) -> Tensor:
    """Draw words, the first ones more often, as in a language."""
    return first + (torch.rand(n) ** 2 * (last - first)).long()


def frame(words: Tensor) -> Tensor:
    """Add the first and the last special token."""
    return torch.cat([torch.tensor([CLS]), words, torch.tensor([SEP])])


def pad_rows(rows: List[Tensor], pad: int = PAD, front: bool = False) -> Tensor:
    """Pad to the longest."""
    width = max(map(len, rows))
    table = torch.full((len(rows), width), pad)
    for line, row in zip(table, rows):
        if front:
            line[width - len(row) :] = row
        else:
            line[: len(row)] = row
    return table


def pad_with_mask(rows: List[Tensor], pad: int = PAD) -> Tuple[Tensor, Tensor]:
    """Pad to the longest, and say where a row is."""
    return pad_rows(rows, pad), pad_rows([torch.ones_like(row) for row in rows])


def bare(architecture: str, head: str, n_outputs: int = 2, **config: Any) -> Any:
    """Make a tiny model of transformers, two layers, 32 wide, e.g. of ``bert`` ``SequenceClassification``."""
    made = _CONFIGS[architecture](**config)
    made.num_labels = n_outputs
    name = type(made).__name__.replace("Config", "")
    suffix = head if head.startswith("LMHead") else f"For{head}"
    return getattr(transformers, f"{name}{suffix}", None)(made)


_SIZES = dict(
    vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=64, pad_token_id=PAD,
)  # fmt: skip
_CONFIGS: Any = {
    "bert": lambda **kw: transformers.BertConfig(**{**_SIZES, **kw}),
    "electra": lambda **kw: transformers.ElectraConfig(**{**_SIZES, "embedding_size": WIDTH, **kw}),
    "roberta": lambda **kw: transformers.RobertaConfig(**{**_SIZES, **kw}),
    "distilbert": lambda **kw: transformers.DistilBertConfig(
        vocab_size=VOCAB, dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64, **kw
    ),
    "modernbert": lambda **kw: transformers.ModernBertConfig(
        **{
            **_SIZES,
            **dict(
                cls_token_id=CLS, sep_token_id=SEP, bos_token_id=CLS, eos_token_id=SEP, global_attn_every_n_layers=2
            ),
            **kw,
        }
    ),
    "gpt2": lambda **kw: transformers.GPT2Config(
        **dict(
            vocab_size=VOCAB,
            n_embd=WIDTH,
            n_layer=2,
            n_head=2,
            n_positions=64,
            pad_token_id=PAD,
            bos_token_id=CLS,
            eos_token_id=SEP,
        ),
        **kw,
    ),
    "llama": lambda **kw: transformers.LlamaConfig(**{**_SIZES, "bos_token_id": CLS, "eos_token_id": SEP, **kw}),
    "opt": lambda **kw: transformers.OPTConfig(
        **dict(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            word_embed_proj_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=64,
            max_position_embeddings=64,
            pad_token_id=PAD,
            bos_token_id=CLS,
            eos_token_id=SEP,
        ),
        **kw,
    ),
    "bart": lambda **kw: transformers.BartConfig(**_BART, **kw),
    "mbart": lambda **kw: transformers.MBartConfig(**_BART, **kw),
    "t5": lambda **kw: transformers.T5Config(
        vocab_size=VOCAB,
        d_model=WIDTH,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=SEP,
        **kw,
    ),
}
_BART = dict(
    vocab_size=VOCAB, d_model=WIDTH, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=PAD,
    bos_token_id=CLS, eos_token_id=SEP, decoder_start_token_id=SEP, forced_eos_token_id=SEP,
    init_std=0.1,  # wide enough for so narrow a model: its gradients are not lost in fastai's epsilon
)  # fmt: skip
