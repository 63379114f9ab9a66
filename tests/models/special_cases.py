"""What a model's forward or config needs that names do not say, each with its reason; the rest: ``tiny_configs.py``."""

from typing import Any, Dict, NamedTuple, Tuple

__all__ = ["Special", "special_for"]


class Special(NamedTuple):
    """How a class differs from a text model of usual make.

    ``task`` is one of ``tasks.py``, where the name of the head does not say it; ``more`` are inputs beside ids and
    mask, made by ``inputs.py``; ``length`` counts tokens.
    """

    why: str
    config: Dict[str, Any] = {}
    more: Tuple[str, ...] = ()
    length: int = 8
    task: str = ""


OWN_LOSS = "returns a loss instead of logits while it trains, so its own loss is trained on"
LAYOUT = {"coordinate_size": 6, "shape_size": 4}  # four of the one and two of the other make up the width

SPECIAL: Dict[str, Special] = {
    # -- its own config, without arguments, does not build it --
    "CohereCompassText": Special(
        "its config has no default for rotary positions",
        {
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
                for kind in ("sliding_attention", "full_attention")
            },
        },
    ),
    "DeepseekV2": Special("its config has no default for the experts of a token", {"num_experts_per_tok": 2}),
    "Esm": Special("its config has no default vocabulary", {"vocab_size": 80}),
    "HunYuanDenseV1": Special("its config has no default width of a head", {"head_dim": 8}),
    "HunYuanMoEV1": Special("its config has no default width of a head", {"head_dim": 8}),
    "Ministral": Special("its config has no default width of a head", {"head_dim": 8}),
    "Nemotron": Special("its config has no default number of heads for keys", {"num_key_value_heads": 2}),
    "T5": Special("its config has no default id that begins a decoded text", {"decoder_start_token_id": 0}),
    "Xmod": Special("a language has to be chosen", {"default_language": "en_XX"}),
    # -- sizes that have to fit each other --
    "BigBird": Special("long enough for attention by blocks", {"block_size": 4, "num_random_blocks": 1}, length=64),
    "BigBirdPegasus": Special(
        "long enough for attention by blocks", {"block_size": 4, "num_random_blocks": 1}, length=64
    ),
    "Canine": Special(
        "deep enough that its last layer, which only words read, is no third of it", {"num_hidden_layers": 6}
    ),
    "Esmc": Special("its own vocabulary of 64 is smaller than the one here", {"vocab_size": 80}),
    "GPTNeo": Special(
        "its list of layers is written as pattern and repetition", {"attention_types": [[["global", "local"], 1]]}
    ),
    "Jamba": Special("one layer of each kind", {"attn_layer_period": 2, "attn_layer_offset": 1}),
    "LayoutLMv3": Special("the parts of its box embedding add up to its width", LAYOUT),
    "Lilt": Special("its width is divisible by six, for the sides of a box", {"hidden_size": 48}, ("bbox",)),
    "MarkupLM": Special("a path of 50 steps would be most of a tiny model", {"max_depth": 4}),
    "Nystromformer": Special(
        "as many landmarks as positions: with fewer its approximation does not take a mask",
        {"num_landmarks": 8, "segment_means_seq_len": 8},
    ),
    "Reformer": Special(
        "its positions make up the length, and their width its width; it draws a new seed at each "
        "step, so without dropout",
        {
            "axial_pos_shape": [2, 4],
            "axial_pos_embds_dim": [16, 16],
            "local_attn_chunk_length": 4,
            "lsh_attn_chunk_length": 4,
            "num_buckets": 2,
            "hash_seed": 0,
            "hidden_dropout_prob": 0.0,
            "lsh_attention_probs_dropout_prob": 0.0,
            "local_attention_probs_dropout_prob": 0.0,
        },
    ),
    "Zamba": Special(
        "two layers that share their attention",
        {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    ),
    "Zamba2": Special(
        "two layers that share their attention",
        {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    ),
    # -- more than text --
    "Bros": Special("reads where a word stands; wide enough for eight sinusoids", {"hidden_size": 64}, ("bbox",)),
    "BrosSpadeEEForTokenClassification": Special(
        "as Bros; two outputs: which words begin, which words follow them",
        {"hidden_size": 64},
        ("bbox",),
        task="begins and follows",
    ),
    "BrosSpadeEL": Special("as Bros", {"hidden_size": 64}, ("bbox",)),
    "LayoutLM": Special("reads where a word stands", more=("bbox",)),
    "Vilt": Special("reads an image", more=("pixel_values",)),
    "ViltForQuestionAnswering": Special(
        "reads an image; chooses an answer out of a list", more=("pixel_values",), task="classes"
    ),
    "VisualBertForQuestionAnswering": Special(
        "reads an image's features; chooses an answer out of a list",
        more=("visual_embeds", "visual_attention_mask"),
        task="classes",
    ),
    "LxmertForQuestionAnswering": Special(
        "reads an image's features; chooses an answer out of a list",
        {"num_qa_labels": 3},
        ("visual_feats", "visual_pos"),
        task="scored answers",
    ),
    "BlipForQuestionAnswering": Special(
        f"reads an image, writes an answer; {OWN_LOSS}", more=("pixel_values", "labels"), task="own loss"
    ),
    # -- a head of another kind than its name --
    "Tapas": Special("reads a table: seven token types", more=("token_type_ids",)),
    "TapasForQuestionAnswering": Special(
        "reads a table: seven token types; scores each cell, and its own loss alone knows of which column",
        more=("token_type_ids", "labels"),
        task="own loss",
    ),
    "LongformerForQuestionAnswering": Special(
        "would look for three separators in each row", more=("global_attention_mask",)
    ),
    **{
        f"{name}ForQuestionAnswering": Special(
            f"a beam of answers; {OWN_LOSS}", more=("start_positions", "end_positions"), task="own loss"
        )
        for name in ("Flaubert", "XLM", "XLNet")
    },
}


def special_for(name: str) -> Special:
    """What is said of the class, else of its architecture, else nothing."""
    return SPECIAL.get(name) or SPECIAL.get(name.split("For")[0]) or Special("")
