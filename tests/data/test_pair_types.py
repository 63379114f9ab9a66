"""Pairs without token types for a model that has them: said, with what gives them. On either fastai."""

import copy
import pickle
import warnings

import pytest

from fastai_hf_callback import HFModel
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.encoding.pair_types import suggest_token_types
from tests.data.encoding.tiny_tokenizers import distilbert, roberta
from tests.installed_stack import FASTAI_1, FASTAI_2
from tests.tiny_models import VOCAB, tiny_model, tiny_transformers_model
from tests.tiny_texts import fast_tokenizer

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)
if FASTAI_1:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.fastai1.data.text_learners import make_data
else:
    from tests.fastai2.data.text_learners import make_data

transformers = pytest.importorskip("transformers", minversion="5")
SPECIAL = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
SAID = r"has 2 types of tokens, and these pairs of texts come without token_type_ids: .* as BERT is, write tokenizer"
SPEC = dict(longest=8, vocab_size=VOCAB, num_labels=2, untyped_pairs="write this")


@pytest.fixture(scope="module")
def bert_tokenizer(tmp_path_factory):
    return fast_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def generic(bert_tokenizer):
    """The same backend in transformers' generic class, which asks it for no types."""
    backend = copy.deepcopy(bert_tokenizer.backend_tokenizer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def warnings_of(model, inputs):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        HFModel(model, inputs=inputs)
    return [str(one.message) for one in told if "token_type_ids" in str(one.message)]


@pytest.mark.parametrize("name", ("bert", "electra", "albert"))
def test_it_is_said_and_what_it_says_to_write_gives_the_types(generic, bert_tokenizer, name):
    data = make_data(generic, "pairs")
    assert data.inputs == ("input_ids", "attention_mask")
    with pytest.warns(UserWarning, match=SAID) as told:
        HFModel(tiny_transformers_model(name, data.c), inputs=data.inputs)
    assert told[0].filename == __file__
    written = str(told[0].message).partition("write tokenizer.model_input_names = ")[2].partition(" before")[0]
    generic.model_input_names = eval(written)
    cured = make_data(generic, "pairs")
    assert "token_type_ids" in cured.inputs and warnings_of(tiny_transformers_model(name, cured.c), cured.inputs) == []
    rows, wanted = (
        made.train_ds if FASTAI_1 else made.train_ds.rows for made in (cured, make_data(bert_tokenizer, "pairs"))
    )
    of = (lambda rows, at: rows.x.items[at].token_type_ids) if FASTAI_1 else (lambda rows, at: rows[at].token_type_ids)
    assert all(of(rows, at).tolist() == of(wanted, at).tolist() and of(rows, at).any() for at in range(20))


def test_asking_leaves_the_tokenizer_as_it_was(generic):
    generic.backend_tokenizer.enable_truncation(7)
    before = generic.backend_tokenizer.to_str()
    assert "tokenizer.model_input_names = ['input_ids', 'attention_mask', " in suggest_token_types(generic)
    assert generic.backend_tokenizer.to_str() == before


@pytest.mark.parametrize("name", ("distilbert", "modernbert", "mpnet", "xlnet", "gpt2", "one type"))
def test_a_model_without_two_types_needs_none(generic, name):
    data = make_data(generic, "pairs")
    if name == "one type":
        config = tiny_transformers_model("roberta", data.c).config
        config.type_vocab_size = 1
        model = transformers.RobertaForSequenceClassification(config)
    else:
        model = tiny_transformers_model(name, data.c)
    assert warnings_of(model, data.inputs) == []


def test_single_texts_and_a_tokenizer_that_gives_types_are_silent(generic, bert_tokenizer):
    for data in (make_data(generic), make_data(bert_tokenizer, "pairs"), make_data(bert_tokenizer)):
        assert (
            data.inputs.untyped_pairs == "" and warnings_of(tiny_transformers_model("bert", data.c), data.inputs) == []
        )


def test_wrappers_are_looked_through_and_types_given_once_count(generic):
    data = make_data(generic, "pairs")
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    adapted = peft.get_peft_model(tiny_transformers_model("bert", data.c), peft.LoraConfig(task_type="SEQ_CLS", r=2))
    for model in (adapted, torch.nn.DataParallel(tiny_transformers_model("bert", data.c))):
        assert len(warnings_of(model, data.inputs)) == 1
    given = {"token_type_ids": torch.zeros(1, 1, dtype=torch.long)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HFModel(tiny_transformers_model("bert", data.c), inputs=data.inputs, forward_kwargs=given)


def test_a_tokenizer_that_knows_no_types_is_the_wrong_one():
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=generic_bytes(), pad_token="[PAD]")
    assert suggest_token_types(made) == suggest_token_types(object())
    spec = BatchSpec(("input_ids", "attention_mask"), **{**SPEC, "untyped_pairs": suggest_token_types(made)})
    (line,) = warnings_of(tiny_transformers_model("bert", 2), spec)
    assert line.endswith("write tokenizer = AutoTokenizer.from_pretrained(model_name) before text_data.")


def generic_bytes():
    """A backend whose pairs are of one type, as RoBERTa's are."""
    tokenizers = pytest.importorskip("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "a": 1, "[S]": 2}, unk_token="a"))
    one = tokenizers.processors.TemplateProcessing("$A", "$A [S] $B", [("[S]", 2)])
    backend.post_processor = one
    return backend


def test_the_spec_is_pickled_whole():
    spec = pickle.loads(pickle.dumps(BatchSpec(("input_ids",), **SPEC)))
    assert spec == ("input_ids",) and spec.untyped_pairs == "write this"


@pytest.mark.parametrize("make", (distilbert, roberta))
def test_tokenizers_of_pytorch_transformers_too(make, tmp_path):
    tokenizer = make(pytest.importorskip("pytorch_transformers"), tmp_path)
    assert suggest_token_types(tokenizer) == "tokenizer = AutoTokenizer.from_pretrained(model_name)"
    assert len(warnings_of(tiny_model("bert", 2), BatchSpec(("input_ids", "attention_mask"), **SPEC))) == 1
    assert warnings_of(tiny_model("distilbert", 2), BatchSpec(("input_ids", "attention_mask"), **SPEC)) == []
