"""Every head class of both libraries, tiny: embeddings, blocks and head, each parameter once; and what is no model."""

import re

import pytest
import torch
from torch import nn

from fastai_hf_callback import HFModel, InputError
from fastai_hf_callback.model.layer_groups import build_layer_groups
from tests.slow_marks import mark_slow_after
from tests.tiny_models import ARCHITECTURES, VOCAB, tiny_model

BLOCKS = 5
CUTS = (10, 28)  # Transfo-XL's vocabulary comes in three parts
BLOCK = re.compile(r"(.*?)\.?\b(?:layer|layers|h|block|attentions|ffns|layer_norm[12]|albert_layer_groups)\.(\d+)\.")
HEAD_NAME = "(For[A-Z]|(With)?LMHead|DoubleHeads)"
FAMILIES = (
    "bert",
    "roberta",
    "distilbert",
    "xlnet",
    "xlm",
    "gpt2",
    "albert",
    "electra",
    "deberta-v2",
    "mpnet",
    "roformer",
    "t5",
    "bart",
    "opt",
    "llama",
)
TINY = dict(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=BLOCKS, num_attention_heads=2, intermediate_size=32)
MORE = {
    "t5": dict(d_model=16, d_kv=8, d_ff=32, num_layers=BLOCKS, num_heads=2),
    "bart": dict(
        d_model=16,
        encoder_layers=4,
        decoder_layers=3,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
    ),
    "xlm": dict(emb_dim=16, n_layers=BLOCKS, n_heads=2),
    "xlnet": dict(d_model=16, n_head=2, d_inner=32),
    "opt": dict(ffn_dim=32, word_embed_proj_dim=16),
    "albert": dict(embedding_size=8),
    "deberta-v2": dict(relative_attention=True, position_buckets=4, norm_rel_ebd="layer_norm"),
    "electra": dict(embedding_size=8),
    "llama": dict(num_key_value_heads=2),
}


def heads_of_then(name):
    """The head classes of pytorch-transformers 1.2 that `name` has, each with five blocks."""
    library = pytest.importorskip("pytorch_transformers")
    model = tiny_model(name)
    config, family = model.config, type(getattr(model, "body", model)).config_class
    for setting in {"num_hidden_layers", "n_layers", "n_layer"} & set(vars(config)):
        setattr(config, setting, BLOCKS)
    return [
        kind(config)
        for key, kind in vars(library).items()
        if isinstance(kind, type) and re.search(HEAD_NAME, key) and getattr(kind, "config_class", None) is family
    ]


def heads_of_now(name, only=None):
    """The same of transformers 5; or the one class named `only`."""
    library = pytest.importorskip("transformers")
    config = library.CONFIG_MAPPING[name](**{**TINY, **MORE.get(name, {})})
    family = type(config).__name__[: -len("Config")]
    keys = [key for key in dir(library) if re.match(family + HEAD_NAME, key)]
    kinds = [getattr(library, key) for key in ([only] if only else keys)]
    assert kinds
    return [kind(config) for kind in kinds if kind.config_class is type(config)]


def parameters_in(group):
    return [p for part in group for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]


def names_in(model, groups):
    names = {id(p): name for name, p in model.named_parameters()}
    return [{names[id(p)] for p in parameters_in(group)} for group in groups]


# -- what must hold of every class -----------------------------------------------------------------------------------


def check_each_parameter_once(model, groups):
    named = names_in(model, groups)
    assert set().union(*named) == {name for name, _ in model.named_parameters()}
    assert sum(map(len, named)) == len(set().union(*named)), "a parameter in two groups"
    assert all(named), "an empty group"


def check_order(model, groups):
    """The word embedding first and the head last; with the head where it is tied to it."""
    named = names_in(model, groups)
    base = getattr(model, model.base_model_prefix, model)
    body = {id(p) for p in base.parameters()}
    head = {id(p) for p in parameters_in(groups[-1])}
    assert base is model or {id(p) for p in model.parameters()} - body <= head
    assert not any(BLOCK.match(name) for name in named[-1])
    first = {id(p) for p in parameters_in(groups[0])}
    tied = {id(p) for m in model.modules() if isinstance(m, (nn.Linear, nn.ParameterList)) for p in m.parameters()}
    words = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings in (VOCAB, *CUTS)]
    assert words
    for embedding in words:
        assert id(embedding.weight) in (head if id(embedding.weight) in tied else first)


def check_even(model, groups):
    """No block in two groups, no two groups of the encoder that differ by more than one block, all in their order."""
    found = [{match.groups() for match in map(BLOCK.match, group) if match} for group in names_in(model, groups)]
    found = [blocks for blocks in found if blocks]
    sizes = [len(blocks) for blocks in found]
    assert sum(sizes) == len(set().union(*found))
    assert max(sizes) - min(sizes) <= 1
    numbers = [
        sorted(
            (stack.startswith(("decoder", "model.decoder", "transformer.decoder")), int(number))
            for stack, number in blocks
        )
        for blocks in found
    ]
    assert sum(numbers, []) == sorted(sum(numbers, []))


def check_all(model):
    for n in (None, 2, 3):
        groups = build_layer_groups(model, n)
        assert len(groups) == (n or (3 if "Albert" in type(model).__name__ else 5))
        check_each_parameter_once(model, groups)
        check_order(model, groups)
        if n != 2:
            check_even(model, groups)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_head_of_pytorch_transformers(name):
    models = heads_of_then(name)
    assert models
    for model in models:
        check_all(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", mark_slow_after(4, FAMILIES))
def test_every_head_of_transformers_5(name):
    for model in heads_of_now(name):
        check_all(model)


BESIDE = {  # family, head class, a part that stands beside the blocks, and the group it belongs to
    ("deberta-v2", "DebertaV2ForSequenceClassification", "deberta.encoder.rel_embeddings.weight", 0),
    ("mpnet", "MPNetForSequenceClassification", "mpnet.encoder.relative_attention_bias.weight", 0),
    ("bart", "BartForSequenceClassification", "model.decoder.layernorm_embedding.weight", 0),
    ("electra", "ElectraForSequenceClassification", "electra.embeddings_project.weight", 0),
    ("xlnet", "XLNetForSequenceClassification", "transformer.mask_emb", 0),
    ("gpt2", "GPT2ForSequenceClassification", "transformer.ln_f.weight", -2),
    ("bert", "BertForSequenceClassification", "bert.pooler.dense.weight", -1),
    ("t5", "T5ForQuestionAnswering", "qa_outputs.weight", -1),
    ("t5", "T5ForTokenClassification", "classifier.weight", -1),
}


@pytest.mark.parametrize("family, kind, part, group", mark_slow_after(3, sorted(BESIDE)))
def test_what_stands_beside_the_blocks(family, kind, part, group):
    model = next(model for model in heads_of_now(family, only=kind))
    assert part in names_in(model, build_layer_groups(model))[group]


def test_wrappers_change_nothing():
    bare = tiny_model("bert")
    expected = [list(map(id, parameters_in(group))) for group in build_layer_groups(bare)]
    for wrapped in (HFModel(bare), nn.DataParallel(bare), nn.DataParallel(HFModel(bare))):
        assert [list(map(id, parameters_in(group))) for group in build_layer_groups(wrapped)] == expected


# -- broken splitters fail the same checks ---------------------------------------------------------------------------


def without_lone_parameters(model):
    return [[part for part in group if not isinstance(part, nn.Parameter)] for group in build_layer_groups(model)]


def by_thirds(model):
    """Leaves cut by count: blocks cut in two, tied weights twice."""
    leaves = [m for m in model.modules() if not list(m.children()) and list(m.parameters())]
    third = len(leaves) // 3
    return [leaves[:third], leaves[third : 2 * third], leaves[2 * third :]]


def test_a_splitter_that_forgets_lone_parameters_is_seen():
    model = tiny_model("xlnet")
    check_each_parameter_once(model, build_layer_groups(model))
    with pytest.raises(AssertionError):
        check_each_parameter_once(model, without_lone_parameters(model))


def test_a_splitter_by_count_is_seen():
    for model, check in [
        (heads_of_then("bert")[0], check_each_parameter_once),
        (tiny_model("bert"), check_order),
        (tiny_model("distilbert"), check_even),
    ]:
        check(model, build_layer_groups(model))
        with pytest.raises(AssertionError):
            check(model, by_thirds(model))


def test_a_splitter_back_to_front_is_seen():
    model = tiny_model("bert")
    for check in (check_order, check_even):
        with pytest.raises(AssertionError):
            check(model, build_layer_groups(model)[::-1])


# -- other people's models -------------------------------------------------------------------------------------------


def block(width=8):
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width))


class Own(nn.Module):
    """Parts by name, in the order given."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def own_names(model, n=None):
    return [sorted({name.split(".")[0] for name in group}) for group in names_in(model, build_layer_groups(model, n))]


def test_a_transformer_of_ones_own_with_everything_side_by_side():
    model = Own(
        words=nn.Embedding(9, 8),
        scale=nn.Parameter(torch.ones(8)),
        blocks=nn.ModuleList([block(), block()]),
        norm=nn.LayerNorm(8),
        out=nn.Linear(8, 2),
    )
    assert own_names(model) == [["scale", "words"], ["blocks"], ["blocks"], ["norm", "out"]]
    assert own_names(model, 3) == [["scale", "words"], ["blocks"], ["norm", "out"]]
    assert own_names(model, 2) == [["blocks", "scale", "words"], ["norm", "out"]]


def test_blocks_in_a_sequential():
    model = Own(words=nn.Embedding(9, 8), blocks=nn.Sequential(block(), block()), out=nn.Linear(8, 2))
    assert own_names(model) == [["words"], ["blocks"], ["blocks"], ["out"]]


def test_a_head_registered_before_the_body_and_a_lone_parameter_beside_it_are_the_head():
    model = Own(out=nn.Linear(16, 2), temperature=nn.Parameter(torch.ones(1)), bert=tiny_model("bert").bert)
    assert own_names(model)[-1] == ["bert", "out", "temperature"]  # bert: its pooler
    assert names_in(model, build_layer_groups(model))[-1] == {
        "out.weight",
        "out.bias",
        "temperature",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }


def test_a_head_per_label_is_not_taken_for_the_encoder():
    heads = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)) for _ in range(6)])
    model = Own(bert=tiny_model("bert").bert, heads=heads)
    assert own_names(model) == [["bert"], ["bert"], ["bert"], ["bert", "heads"]]


def test_blocks_that_share_all_weights_are_one():
    model = Own(words=nn.Embedding(9, 8), blocks=nn.ModuleList([block() for _ in range(3)]), out=nn.Linear(8, 2))
    for other in model.blocks:
        other[0].weight, other[0].bias = model.blocks[0][0].weight, model.blocks[0][0].bias
        other[2].weight, other[2].bias = model.blocks[0][2].weight, model.blocks[0][2].bias
    assert own_names(model) == [["words"], ["blocks"], ["out"]]


def test_frozen_parameters_are_in_their_groups_too():
    model = tiny_model("bert").requires_grad_(False)
    check_each_parameter_once(model, build_layer_groups(model))


# -- refused, in words -----------------------------------------------------------------------------------------------


REFUSED = {
    "no blocks": (
        lambda: build_layer_groups(nn.Linear(2, 2)),
        "no-blocks",
        "Linear was given, in which no repeated blocks "
        "were found; expected a model whose encoder is an nn.ModuleList of layers",
    ),
    "no head": (
        lambda: build_layer_groups(tiny_model("xlnet").transformer),
        "no-head",
        "XLNetModel was given, in which nothing comes after the blocks; expected a model with a head",
    ),
    "a class": (
        lambda: build_layer_groups(nn.Linear),
        "class-instead-of-instance",
        "The class Linear was given; expected",
    ),
    "a name": (lambda: build_layer_groups("bert"), "not-a-module", "str was given; expected a model"),
    "one group": (
        lambda: build_layer_groups(tiny_model("bert"), 1),
        "bad-group-count",
        "n=1 was given; expected a number of groups from 2 (body, head) to 4 (every layer its own). Write "
        "partial(layer_groups, n=3).",
    ),
    "too many": (lambda: build_layer_groups(tiny_model("bert"), 5), "bad-group-count", "n=5 was given"),
    "a bool": (lambda: build_layer_groups(tiny_model("bert"), True), "bad-group-count", "n=True was given"),
    "a float": (lambda: build_layer_groups(tiny_model("bert"), 3.0), "bad-group-count", "n=3.0 was given"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_split_is_refused_in_words(case):
    make, cause, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)
    assert error.value.cause == cause
