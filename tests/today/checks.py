"""What is asked of a cell: a function each, which returns the figure that it saw, or raises ``AssertionError``."""

import json
from pathlib import Path
from typing import Any, List, Tuple

import torch
import transformers
from fastai.learner import Learner
from fastai.torch_core import noop
from torch import Tensor, nn

from fastai_hf_callback import Comparison, layer_groups, ordered_preds
from tests.today.checkpoints import family_of, load_model
from tests.today.learners import Setting
from tests.today.texts import LONG_TEXT, constant_error, make_table, split_into_words

__all__ = [
    "check_batch_mates",
    "check_comparison",
    "check_learned",
    "check_pipeline",
    "check_predict",
    "check_weights",
    "write_export",
]

BATCH_MATES_LIMIT, PIPELINE_LIMIT = 1e-4, 1e-5
NEW_TEXTS = 24


def check_comparison(comparison: Comparison) -> str:
    """Both arms equal bit for bit, the broken one not, and the weights changed."""
    assert comparison.identical, str(comparison.difference)
    assert comparison.broken_arm_differs, "the broken arm did not differ"
    callback = comparison.traces["callback"]
    assert callback.final_weights != callback.initial_weights, "no weight changed"
    return f"{len(callback.steps)} steps"


def check_learned(comparison: Comparison, task: str) -> str:
    """At most half the error of a constant, which the broken arm does not reach."""
    constant = constant_error(task, make_table(task, 96, seed=1))
    error, broken = (_last_error(comparison, arm, task) for arm in ("callback", "broken"))
    figures = f"{error:.3f}; constant {constant:.3f}; broken arm {broken:.3f}"
    assert error <= constant / 2, f"error {figures}"
    assert broken > constant / 2, f"the broken arm learned, too: error {figures}"
    return figures


def _last_error(comparison: Comparison, arm: str, task: str) -> float:
    (value,) = comparison.traces[arm].epochs[-1].metrics.values()
    return value if task == "number" else 1 - value


def check_weights(learn: Learner, setting: Setting) -> str:
    """What trains is float32 and moved; what is frozen is the checkpoint's to the bit."""
    start, frozen = setting.make_model(), _names_of_frozen(setting)
    before, after = dict(start.named_parameters()), dict(learn.model.model.named_parameters())
    moved = [name for name in frozen if not torch.equal(before[name], after[name])]
    assert not moved, f"{len(moved)} of {len(frozen)} frozen tensors moved, or changed their dtype: {moved[0]}"
    half = [name for name in after if name not in frozen and after[name].dtype != torch.float32]
    assert not half, f"{len(half)} tensors trained in {after[half[0]].dtype}: {half[0]}"
    still = [name for name in after if name not in frozen and torch.equal(before[name].float(), after[name])]
    assert not still, f"{len(still)} of {len(after) - len(frozen)} trained tensors did not move: {still[0]}"
    return f"{len(after) - len(frozen)} trained, {len(frozen)} frozen"


def _names_of_frozen(setting: Setting) -> List[str]:
    model = setting.make_model()
    if setting.cell.training == "full":
        return []
    if setting.cell.training == "frozen body":
        head = {id(parameter) for parameter in layer_groups(model)[-1]}
        return [name for name, parameter in model.named_parameters() if id(parameter) not in head]
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


# -- predictions -------------------------------------------------------------------------------------------------------


def check_batch_mates(learn: Learner, setting: Setting) -> str:
    """A text's predictions alone and next to one that is much longer."""
    task, side = setting.cell.task, family_of(setting.cell.family, setting.cell.task).side
    apart = max(_apart_next_to_a_long_text(learn, task, text, side) for text in new_texts(task)[:4])
    assert apart <= BATCH_MATES_LIMIT, f"a text's prediction differs by {apart:.2g} next to a longer one"
    return f"{apart:.1e}"


def _apart_next_to_a_long_text(learn: Learner, task: str, text: str, side: str) -> float:
    texts = [split_into_words(task, one) for one in (text, LONG_TEXT)]
    # Outputs, not probabilities: near 0 and 1 those hardly show anything.
    alone, beside = (learn.get_preds(dl=learn.dls.test_dl(some), act=noop)[0][0] for some in (texts[:1], texts))
    if task == "tokens":
        beside = beside[-len(alone) :] if side == "left" else beside[: len(alone)]
    return float((alone - beside).abs().max())


def new_texts(task: str) -> List[str]:
    """Texts that were not trained on."""
    texts = make_table(task, NEW_TEXTS, seed=2).text
    return [" ".join(text) if task == "tokens" else text for text in texts]


# -- keeping -----------------------------------------------------------------------------------------------------------


def write_export(learn: Learner, task: str, folder: Path) -> None:
    """Export the learner, with what it predicts, for ``new_process.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [split_into_words(task, text) for text in new_texts(task)]
    answers = {"probabilities": ordered_preds(learn, texts)[0], "name": str(learn.predict(texts[0])[0])}
    torch.save(answers, folder / "answers.pt")
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    learn.export(folder / "learner.pkl")


def check_predict(learn: Learner, task: str) -> str:
    """``ordered_preds`` gives probabilities, and ``predict`` the name that they say."""
    texts = new_texts(task)[:6]
    for text in texts:
        values, said = predict_one(learn, task, text), learn.predict(split_into_words(task, text))[0]
        if task == "number":
            assert abs(float(said) - float(values)) < BATCH_MATES_LIMIT, f"predict says {said}, not {values.tolist()}"
            continue
        assert float(values.min()) >= 0 and float(values.max()) <= 1, f"no probabilities: {values.tolist()}"
        if task != "labels":
            assert torch.allclose(values.sum(-1), torch.ones(()), atol=1e-4), f"no probabilities: {values.tolist()}"
        expected = _name_of(learn.dls.classes, task, values)
        assert said == expected, f"predict says {said} where the probabilities say {expected}"
    return f"{len(texts)} texts"


def _name_of(names: List[str], task: str, values: Tensor) -> Any:
    if task == "labels":
        return [name for name, value in zip(names, values) if value > 0.5]
    return [names[i] for i in values.argmax(1)] if task == "tokens" else names[int(values.argmax())]


def check_pipeline(learn: Learner, setting: Setting, folder: Path) -> str:
    """The folder of ``save_pretrained`` in transformers' pipeline: the learner's own names and probabilities."""
    task, pipe = setting.cell.task, make_pipeline(learn, setting, folder)
    apart = 0.0
    for text in new_texts(task)[:6]:
        own, told = learner_answer(learn, task, text), pipeline_answer(pipe, task, text)
        differ = [(mine, its) for (mine, _), (its, _) in zip(own, told) if mine != its]
        assert not differ, f"the pipeline says {differ[0][1]!r} where the learner says {differ[0][0]!r}"
        apart = max([apart, *(abs(mine - its) for (_, mine), (_, its) in zip(own, told))])
        assert apart <= PIPELINE_LIMIT, f"the pipeline says {told[0][1]:.6f} where the learner says {own[0][1]:.6f}"
    return f"{apart:.1e}"


def make_pipeline(learn: Learner, setting: Setting, folder: Path) -> Any:
    """Save model and tokenizer, and load them elsewhere; an adapter goes onto its untouched base."""
    learn.model.save_pretrained(folder)
    learn.dls.train_ds.collator.encoder.tokenizer.save_pretrained(folder)
    kind = "token-classification" if setting.cell.task == "tokens" else "text-classification"
    model: Any = str(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if setting.cell.training == "LoRA":
        model = _adapter_on_its_base(learn.model.config, setting, folder)
    return transformers.pipeline(kind, model, tokenizer=tokenizer, device="cpu")


def _adapter_on_its_base(config: Any, setting: Setting, folder: Path) -> nn.Module:
    import peft

    names = {"num_labels": setting.data.c, "id2label": config.id2label, "problem_type": config.problem_type}
    names["pad_token_id"] = config.pad_token_id
    base = load_model(setting.checkpoint, setting.cell.task, dtype=torch.float32, **names)
    return peft.PeftModel.from_pretrained(base, folder).eval()


Answer = List[Tuple[str, float]]


def learner_answer(learn: Learner, task: str, text: str) -> Answer:
    """Return names with their probabilities; of words, each word's name and its probability; of a number, itself."""
    values, names = predict_one(learn, task, text), learn.dls.classes
    if task == "tokens":
        return list(zip(_name_of(names, task, values), values.max(1).values.tolist()))
    return [("", float(values))] if task == "number" else sorted(zip(names, values.tolist()))


def predict_one(learn: Learner, task: str, text: str) -> Tensor:
    """Return the probabilities of one text; a label per word: of each word, without special tokens."""
    values = ordered_preds(learn, [split_into_words(task, text)])[0][0]
    if task != "tokens":
        return values
    tokenizer = learn.dls.train_ds.collator.encoder.tokenizer
    return values[[number not in tokenizer.all_special_ids for number in tokenizer(text)["input_ids"]]]


def pipeline_answer(pipe: Any, task: str, text: str) -> Answer:
    """Return the same of a pipeline, with its defaults but that it tells all names."""
    if task == "tokens":
        return [(one["entity"], float(one["score"])) for one in pipe(text, ignore_labels=[])]
    told = pipe(text, top_k=None)
    return [("", told[0]["score"])] if task == "number" else sorted((one["label"], one["score"]) for one in told)
