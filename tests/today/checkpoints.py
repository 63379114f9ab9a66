"""Tiny checkpoints as users find them: a folder of a body without a head, and its tokenizer, in some precision."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

import torch
import transformers
from torch import nn

from tests.today.texts import KINDS, NEUTRAL, WORDS, kind_of, make_table

__all__ = ["FAMILIES", "Family", "HEADS", "family_of", "load_model", "write_checkpoint"]

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HEADS = {"tokens": transformers.AutoModelForTokenClassification}
POSITIONS = 64
RATE = 2e-3
PRETRAINING_ROWS, PRETRAINING_EPOCHS = 960, 12
# At the usual 0.02 so narrow a model learns slowly.
SPREAD = {"initializer_range": 0.2}


class Family(NamedTuple):
    """An architecture, and the tokenizer that goes with it.

    Attributes
    ----------
    kind : str
        As in ``BertConfig``.
    sizes : dict
        Of its config.
    specials : tuple of str
        The first ids; the second is the unknown word's.
    roles : dict of str to str
        Which of them is what.
    template : str
        What stands around a text.
    side : str
        On which rows are padded.
    adapted : list of str
        The modules that LoRA adapts.
    head : list of str
        The head's modules, where peft does not know their names itself.
    """

    kind: str
    sizes: Dict[str, Any]
    specials: Tuple[str, ...]
    roles: Dict[str, str]
    template: str
    side: str
    adapted: Tuple[str, ...]
    head: Tuple[str, ...] = ()


BERT = Family(
    "Bert",
    dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        **SPREAD,
    ),
    ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    dict(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"),
    "[CLS] $A [SEP]",
    "right",
    ("query", "value"),
)
# As the checkpoints come: without a padding id in the config.
LLAMA = Family(
    "Llama",
    dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        bos_token_id=2,
        eos_token_id=3,
        **SPREAD,
    ),
    ("<pad>", "<unk>", "<s>", "</s>"),
    dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>"),
    "<s> $A",
    "right",
    ("q_proj", "v_proj"),
)
GPT2 = Family(
    "GPT2",
    dict(n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS, bos_token_id=2, eos_token_id=2, **SPREAD),
    ("<pad>", "<unk>", "<|endoftext|>"),
    dict(pad_token="<pad>", bos_token="<|endoftext|>", eos_token="<|endoftext|>"),
    "$A",
    "left",
    ("c_attn",),
)
BART = Family(
    "Bart",
    dict(
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=POSITIONS,
        init_std=0.2,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        decoder_start_token_id=3,
        forced_eos_token_id=3,
    ),
    ("<pad>", "<unk>", "<s>", "</s>"),
    dict(pad_token="<pad>", bos_token="<s>", cls_token="<s>", sep_token="</s>", eos_token="</s>"),
    "<s> $A </s>",
    "right",
    ("q_proj", "v_proj"),
    ("classification_head",),
)
T5 = Family(
    "T5",
    dict(
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
    ),
    ("<pad>", "<unk>", "<s>", "</s>"),
    dict(pad_token="<pad>", eos_token="</s>"),
    "$A </s>",
    "right",
    ("q", "v"),
)
FAMILIES = {"encoder": BERT, "decoder padded right": LLAMA, "decoder padded left": GPT2, "encoder-decoder": BART}


def family_of(name: str, task: str) -> Family:
    """Return the architecture of a family for a task: BART has no head for tokens, T5 has."""
    return T5 if (name, task) == ("encoder-decoder", "tokens") else FAMILIES[name]


def write_checkpoint(family: Family, precision: str, folder: Path) -> Path:
    """Write the body and its tokenizer; a folder that is there already is kept."""
    target = folder / f"{family.kind}-{precision}"
    if target.exists():
        return target
    part = Path(tempfile.mkdtemp(dir=folder))
    if precision == "float32":
        body = _pretrain(family)
    else:
        body = transformers.AutoModel.from_pretrained(write_checkpoint(family, "float32", folder))
    body.to(DTYPES[precision]).save_pretrained(part)
    make_tokenizer(family).save_pretrained(part)
    try:
        part.replace(target)
    except OSError:  # another process has just written it
        shutil.rmtree(part)
    return target


def _pretrain(family: Family) -> nn.Module:
    """Train a body to tell words' kinds and their shares in a text: a random one, frozen, would tell a head little."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family.kind}Config")
    config = config(vocab_size=len(family.specials) + len(WORDS), num_labels=len(KINDS), **family.sizes)
    pad_token_id, config.pad_token_id = config.pad_token_id, 0  # the head of a decoder looks for it
    model = transformers.AutoModelForSequenceClassification.from_config(config).train()
    batch, shares, kinds = _pretraining_rows(family)
    word_head = nn.Linear(config.hidden_size, len(KINDS) + 1)
    steps = torch.arange(len(shares)).repeat(PRETRAINING_EPOCHS).split(32)
    optimizer = torch.optim.Adam([*model.parameters(), *word_head.parameters()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, len(steps))
    for rows in steps:
        outputs = model(**{name: values[rows] for name, values in batch.items()}, output_hidden_states=True)
        words = word_head((outputs.get("hidden_states") or outputs["encoder_hidden_states"])[-1])
        loss = nn.functional.mse_loss(outputs.logits, shares[rows])
        (loss + nn.functional.cross_entropy(words.flatten(0, 1), kinds[rows].flatten())).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    config.pad_token_id = pad_token_id
    return model.base_model


def _pretraining_rows(family: Family) -> Tuple[Dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Make ids and mask, the standardised shares of the kinds, and each token's kind (-100: none)."""
    texts = [text.split() for text in make_table("labels", PRETRAINING_ROWS, seed=3).text]
    batch = make_tokenizer(family)(
        texts, is_split_into_words=True, padding=True, padding_side="right", return_tensors="pt"
    )
    shares = torch.tensor(
        [[sum(kind_of(word) == kind for word in text) / len(text) for kind in KINDS] for text in texts]
    )
    number = {kind: i for i, kind in enumerate([*KINDS, NEUTRAL])}
    of_ids = torch.tensor([*(-100 for _ in family.specials), *(number[kind_of(word)] for word in WORDS)])
    names = ("input_ids", "attention_mask")
    return {name: batch[name] for name in names}, (shares - shares.mean(0)) / shares.std(0), of_ids[batch["input_ids"]]


def load_model(checkpoint: Path, task: str, **settings: Any) -> nn.Module:
    """Load the checkpoint with a new head, as ``from_pretrained`` gives it; the head is the same each time."""
    torch.manual_seed(1)
    kind = HEADS.get(task, transformers.AutoModelForSequenceClassification)
    return kind.from_pretrained(checkpoint, **settings)


def make_tokenizer(family: Family) -> Any:
    """Make a tokenizer with an id for each word; nothing of it is downloaded."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {token: i for i, token in enumerate([*family.specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=family.specials[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [token for token in family.template.split() if token != "$A"]
    if around:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=family.template, special_tokens=[(token, ids[token]) for token in around]
        )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tokenizer.json")
        tokenizer.save(path)
        return transformers.PreTrainedTokenizerFast(
            tokenizer_file=path, unk_token=family.specials[1], padding_side=family.side, **family.roles
        )
