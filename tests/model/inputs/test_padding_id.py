"""One padding id for batches and config: who is right is set, and it is said. No fastai here."""

import warnings

import pytest
import torch

from fastai_hf_callback import HFModel, InputError, unwrap
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.padding import Padding
from fastai_hf_callback.model.inputs.padding_id import find_text_config

transformers = pytest.importorskip("transformers", minversion="5")
SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, intermediate_size=16)
VOCAB, PAD = 40, 39


def spec(pad=PAD, side="right"):
    return BatchSpec(("input_ids", "attention_mask"), Padding(pad, 0, side), 8, VOCAB, 2)


def llama(**config):
    torch.manual_seed(0)
    settings = dict(vocab_size=VOCAB, bos_token_id=0, eos_token_id=0, num_labels=2, **SIZES)
    return transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**{**settings, **config}))


def gemma3(pad):
    """A config that tells of texts in a part of its own."""
    text = dict(vocab_size=VOCAB, head_dim=8, pad_token_id=pad, max_position_embeddings=32, **SIZES)
    eyes = dict(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    config = transformers.Gemma3Config(text_config=text, vision_config=eyes, num_labels=2)
    return transformers.Gemma3ForSequenceClassification(config)


def logits(wrapped, rows, width):
    padded = torch.full((len(rows), width), PAD)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = torch.tensor(row)
    wrapped.eval()
    with torch.no_grad():
        return unwrap(wrapped(padded, padded.ne(PAD).long()))


@pytest.mark.parametrize("of_config", (None, 0, -1, 7), ids=("none", "the end mark", "below 0", "a word"))
def test_the_configs_padding_id_is_set_to_the_batches_and_it_is_said_once(of_config):
    model = llama(pad_token_id=None)
    model.config.pad_token_id = of_config
    with pytest.warns(UserWarning, match="padded with id 39: config.pad_token_id is 39 from now on") as warned:
        wrapped = HFModel(model, spec())
    had = "no padding id" if of_config is None else f"pad_token_id={of_config}"
    assert f"LlamaForSequenceClassification's config had {had}" in str(warned[0].message)
    assert model.config.pad_token_id == PAD
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HFModel(model, spec())
    alone, among = logits(wrapped, [[3, 4, 7]], 3), logits(wrapped, [[3, 4, 7], [5] * 8], 8)
    assert torch.allclose(alone[0], among[0], atol=1e-6)
    assert not torch.allclose(alone[0], logits(wrapped, [[3, 4, 7, 7]], 4)[0], atol=1e-6)  # its last words are read


def test_a_config_of_another_padding_id_reads_padding_the_broken_arm():
    model = llama(pad_token_id=0)
    wrapped = HFModel(model, ("input_ids", "attention_mask"))  # nobody has told it of the batches' id
    alone, among = logits(wrapped, [[3, 4, 7]], 3), logits(wrapped, [[3, 4, 7], [5] * 8], 8)
    assert not torch.allclose(alone[0], among[0], atol=1e-6)


def test_a_nested_config_is_set_where_the_head_reads_it():
    model = gemma3(pad=0)
    assert find_text_config(model.config) is model.config.text_config
    with pytest.warns(UserWarning, match="config had pad_token_id=0, and these batches are padded with id 39"):
        wrapped = HFModel(model, spec())
    assert model.config.text_config.pad_token_id == PAD
    alone, among = logits(wrapped, [[3, 4, 7]], 3), logits(wrapped, [[3, 4, 7], [5] * 8], 8)
    assert torch.allclose(alone[0], among[0], atol=1e-5)


def test_a_model_that_counts_positions_from_its_padding_id_on_is_refused():
    """Another id in its config would move all positions of the saved folder."""
    settings = dict(SIZES, vocab_size=VOCAB, max_position_embeddings=34, pad_token_id=1)
    settings.pop("num_key_value_heads")
    model = transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**settings))
    with pytest.raises(
        InputError, match="padded with id 39, and RobertaFor.*, whose pad_token_id is 1, counts"
    ) as caught:
        HFModel(model, spec())
    assert caught.value.cause == "padding-ids-disagree" and model.config.pad_token_id == 1
    HFModel(model, spec(pad=1))


def test_an_encoder_s_config_agrees_as_well_and_a_body_without_a_padding_id_stays_as_it_is():
    settings = dict(SIZES, vocab_size=VOCAB)
    settings.pop("num_key_value_heads")
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**settings))
    with pytest.warns(UserWarning, match="pad_token_id=0, and these batches are padded with id 39"):
        HFModel(model, spec())
    body = transformers.LlamaModel(llama(pad_token_id=None).config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HFModel(body, spec())
    assert body.config.pad_token_id is None


def test_adapters_and_compiled_models_are_reached():
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(llama(pad_token_id=0), peft.LoraConfig(task_type="SEQ_CLS", r=2))
    for model in (adapted, torch.compile(llama(pad_token_id=0), backend="eager")):
        with pytest.warns(UserWarning, match="from now on"):
            wrapped = HFModel(model, spec())
        assert wrapped.config.pad_token_id == PAD
    assert adapted.base_model.model.config.pad_token_id == PAD
