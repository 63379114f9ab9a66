"""Any transformers config, made tiny: its attributes are walked, and each size is cut down by what its name says.

No table of architectures stands here; what names do not tell stands in ``special_cases.py``.
"""

import inspect
import re
from typing import Any, Dict, List

__all__ = ["VOCAB", "WIDTH", "PAD", "BEGIN", "END", "FIRST_WORD", "tiny_config"]

VOCAB, WIDTH, HEADS, LAYERS, POSITIONS = 80, 32, 4, 2, 64
MOST_LAYERS = 4  # where every kind of layer (sliding or full, dense or sparse, attention or state space) is to occur
PAD, BEGIN, END, FIRST_WORD = 0, 2, 3, 5
SPECIAL_TOKENS = {
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "cls_token_id": BEGIN,
    "decoder_start_token_id": BEGIN,
    "eos_token_id": END,
    "sep_token_id": END,
    "pad_index": PAD,
    "bos_index": BEGIN,
    "eos_index": END,
}

# The first pattern found in an attribute's name is the most it may be; "num_key_value_heads" has "heads" too.
SIZES = (
    (r"type_vocab_size|^rel|^num_buckets|position_buckets|no_rope|kernel|chunk_size_feed_forward|feat_extract", None),
    (r"vocab_size|num_hash_buckets|2d_position", VOCAB),
    (r"per_tok$|index_topk|n_group|topk_group|num_hash$", 2),
    (r"experts$", HEADS),
    (r"rank$|num_latents$|head_?dim$|head_size$|^d_kv$|^d_head$|kv_channels$|rotary_dim$", WIDTH // HEADS),
    (r"window|chunk|stride", WIDTH // HEADS),
    (r"heads?$|query_groups$", HEADS),
    (r"layers$|^n_layer$|^depth$", LAYERS),
    (r"position|max_seq_len|mem_len", POSITIONS),
    (r"intermediate|ffn|feed_forward|d_ff$|dff$|d_inner|^hidden_dim$|mid_dim|attention_hidden", 2 * WIDTH),
    (
        r"hidden_size|d_model|d_latents|^dim$|embd$|emb_(dim|size)|embed.*dim|embedding_size|proj_(dim|size)|bottleneck"
        r"|projection_dim|output_size|xvector|codevector|image_text|conv_dim|tdnn_dim",
        WIDTH,
    ),
    (r"image_size|^input_size", 16),
    (r"^mask_(time|feature)_length", 2),
    (r"patch_size", 8),
)


def tiny_config(config_class: type, **settings: Any) -> Any:
    """A config of `config_class`: 32 wide, two layers deep, up to four where there are several kinds of layers.

    Parameters
    ----------
    config_class : type
        A transformers config that can be made without arguments.
    **settings : any
        What is set whatever the walk says; a dict is for the sub-config of that name.
    """
    return config_class(**_merged(_shrunk(config_class()), settings))


def _merged(sizes: Dict[str, Any], settings: Dict[str, Any]) -> Dict[str, Any]:
    both = {**sizes, **settings}
    for name in sizes.keys() & settings.keys():
        if isinstance(sizes[name], dict) and isinstance(settings[name], dict):
            both[name] = _merged(sizes[name], settings[name])
    return both


def _shrunk(config: Any) -> Dict[str, Any]:
    """The attributes of a config, its sub-configs included, with each size cut down."""
    attributes = {name: value for name, value in config.to_dict().items() if not _is_derived(config, name, value)}
    kept = _kept_layers(attributes)
    sizes = {name: _small(name, value, kept) for name, value in attributes.items()}
    for name, part in vars(config).items():
        if hasattr(part, "model_type"):
            sizes[name] = _shrunk(part)
    return _with_heads_in_proportion(sizes, attributes)


def _is_derived(config: Any, name: str, value: Any) -> bool:
    """Whether the config computes this from other attributes, as a head's width: it is to do so again."""
    takes = inspect.signature(type(config).__init__).parameters
    if name not in takes:
        return name not in config.attribute_map.values()  # which its arguments may know by another name
    return takes[name].default is None and isinstance(value, (int, dict)) and not name.endswith(("_id", "_index"))


def _small(name: str, value: Any, kept: List[int]) -> Any:
    if kept and _is_per_layer(name, value):
        return [value[i] for i in kept if i < len(value)]
    if name == "pad_token_id" or name in SPECIAL_TOKENS and value is not None:
        return SPECIAL_TOKENS[name]
    if isinstance(value, (list, tuple)):
        return type(value)(_small(name, one, []) for one in value)
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if re.search(r"(token|pad|mask|unk|question|image)_(id|index)$", name):
        return value % VOCAB
    most = next((size for pattern, size in SIZES if re.search(pattern, name)), None)
    if most is LAYERS and kept:
        return len(kept)
    return value if most is None else min(value, most)


def _with_heads_in_proportion(sizes: Dict[str, Any], attributes: Dict[str, Any]) -> Dict[str, Any]:
    """Half as many heads for keys and values, where the architecture has fewer of them than for queries."""
    for name in [name for name in sizes if re.search(r"(kv|key_value|num_key|n_index|index_n)_heads$", name)]:
        heads = attributes.get("num_attention_heads", attributes.get("linear_num_value_heads"))
        if attributes[name] is not None and heads is not None and attributes[name] < heads:
            sizes[name] = min(attributes[name], HEADS // 2)
    return sizes


def _is_per_layer(name: str, value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(re.search(r"layer_types$|layers_block_type|_layers$", name))


def _kept_layers(attributes: Dict[str, Any]) -> List[int]:
    """Numbers of the layers that stay where layers are listed: the first of each kind, two at least."""
    lists = [value for name, value in attributes.items() if _is_per_layer(name, value)]
    kinds = list(zip(*[value for value in lists if len(value) == max(map(len, lists))]))
    firsts = [i for i, kind in enumerate(kinds) if kind not in kinds[:i]][:MOST_LAYERS]
    return firsts if len(firsts) >= LAYERS else list(range(min(LAYERS, len(kinds))))
