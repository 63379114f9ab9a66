"""Triggers of every error and warning of the package, room by room; for ``tests/message_catalogue.py``.

Every trigger is a function without arguments, called in an empty folder. Those of the fastai rooms
are in ``message_triggers.py`` of ``tests/fastai1`` and ``tests/fastai2``.
"""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import fastai_hf_callback
from fastai_hf_callback import HFModel, unwrap
from fastai_hf_callback.cli.factory_file import load_factory
from fastai_hf_callback.comparison import runner as trial
from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.compat.patching import raise_if_foreign
from fastai_hf_callback.data.arguments import check_arguments
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.collate import TextCollator
from fastai_hf_callback.data.batches.padding import NO_PADDING, Padding
from fastai_hf_callback.data.batches.qa_encoding import QACollator
from fastai_hf_callback.data.batches.trial_batches import TrialBatches
from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.marked_texts import warn_of_marked_texts
from fastai_hf_callback.data.tables.examples import read_examples
from fastai_hf_callback.data.tables.table import CsvFile
from fastai_hf_callback.demo import comments
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis
from fastai_hf_callback.diagnosis.probes.batches import read_batches
from fastai_hf_callback.diagnosis.probes.loss import require_tensor_loss
from fastai_hf_callback.model import sanity_checks as first_batch
from fastai_hf_callback.model.layer_groups import build_layer_groups
from fastai_hf_callback.model.losses import NextTokenLoss, SpanLoss
from fastai_hf_callback.model.metrics import mean_columnwise_auc
from fastai_hf_callback.model.pretrained import Pretrained, _detect_architecture, check_max_length, load_pretrained
from fastai_hf_callback.model.question_answering import span_logits
from fastai_hf_callback.results.finding import Finding
from tests.tiny_models import ids, make_trace, tiny_model, tiny_transformers_model
from tests.tiny_texts import fast_tokenizer, slow_tokenizer

TRIGGERS = []


def said(*triggers):
    """Add triggers, in the order of the room's lines."""
    TRIGGERS.extend(triggers)


def written(name, content):
    """Write a file with this content in the current folder."""
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


# -- the command line ----------------------------------------------------------------------------------------------

CSV = "text,kind\ngood,a\nbad,b\nso,a\n"
FACTORIES = "number = 3\ndef takes(one): ...\ndef nothing(): return None\n"


def run_command_line(line):
    """Run the command line on arguments that it refuses before any work."""
    from fastai_hf_callback.cli.arguments import build_parser
    from fastai_hf_callback.cli.main import COMMANDS

    arguments = build_parser().parse_args(line.split())
    COMMANDS[arguments.command](arguments)


said(
    lambda: run_command_line("compare"),
    lambda: run_command_line("compare --csv x.csv"),
    lambda: run_command_line("compare x.py:make --html no/such/folder/x.html"),
    lambda: run_command_line("compare x.py:make --html x.html --json ./x.html"),
    lambda: run_command_line("compare x.py:make --html x.py"),
    lambda: run_command_line("compare x.py:make --plot arms.gif"),
    lambda: run_command_line("compare x.py:make --seed 1 --seed 2"),
    lambda: run_command_line("compare --csv x.csv --encoding latin-11"),
    lambda: run_command_line("compare x.py:make --text comment"),
    lambda: run_command_line("compare --csv x.csv --labels ,"),
    lambda: run_command_line("compare x.py:make --arms callback,new"),
    lambda: run_command_line("compare x.py:make --epochs 0"),
    lambda: run_command_line("compare x.py:make --lr 0"),
    lambda: run_command_line("compare x.py:make --lr fast"),
    lambda: run_command_line("compare --csv x.csv --valid 2"),
    lambda: run_command_line("compare x.py:make --epochz 3"),
)

# -- the package ---------------------------------------------------------------------------------------------------

said(
    lambda: fastai_hf_callback.nonsense,
    lambda: comments.make_comments(-1),
    lambda: Diagnosis().at_least("fatal"),
    lambda: Finding("loss-detached", "error", "", fix="Return the loss itself").apply(None),
)

# -- batches and inputs ---------------------------------------------------------------------------------------------


def make_bert(n_outputs=2):
    """Make a tiny BERT of the installed library."""
    return (tiny_model if find_spec("pytorch_transformers") else tiny_transformers_model)("bert", n_outputs)


said(
    *(
        lambda inputs=inputs: inputs.check(make_bert())
        for inputs in (
            BatchSpec(["input_ids"], NO_PADDING, 5, 10_000, 2),
            BatchSpec(["input_ids"], NO_PADDING, 5_000, 10, 2),
            BatchSpec(["input_ids"], NO_PADDING, 5, 10, 3),
        )
    )
)


def padded_with(number, model, **config):
    """Let a model of transformers with a head meet batches that are padded with this id."""
    transformers = pytest.importorskip("transformers")
    sizes = dict(vocab_size=48, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    config = getattr(transformers, f"{model}Config")(**{**sizes, "max_position_embeddings": 34, **config})
    model = getattr(transformers, f"{model}ForSequenceClassification")(config)
    HFModel(model, BatchSpec(["input_ids"], Padding(number, 0, "right"), 5, 10, 2))


def classes_of(names, other):
    """Let a model whose config names its outputs meet classes of other names."""
    model = make_bert(len(names))
    model.config.id2label = dict(enumerate(names))
    task = "single_label_classification"
    HFModel(model, BatchSpec(["input_ids"], NO_PADDING, 5, 10, len(names), task, other))


said(
    lambda: padded_with(9, "Roberta", pad_token_id=1),
    lambda: padded_with(9, "Bert"),
    lambda: classes_of(["good", "bad"], ["bad", "good"]),
    lambda: classes_of(["ham", "spam"], ["bad", "good"]),
    lambda: TextCollator(TextEncoder(without_padding(slow_tokenizer(".")))),
    lambda: HFModel(ReadsFirstPlace(), tried(alone=[[5, 6, 7]], padded=[[0, 0, 5, 6, 7]], side="left")),
    lambda: HFModel(CountsRows(), tried(plain=[[5, 6]], marked=[[5, 6], [7, 8]])),
    lambda: data_with_a_mark(),
    lambda: HFModel(make_bert(), BatchSpec(["input_ids"], NO_PADDING, 5, 10, 2, untyped_pairs="tokenizer.x = 1")),
)


def tried(side="right", **batches):
    """Make what a model is tried on before it is trained: batches of these rows."""
    made = {}
    for name, rows in batches.items():
        ids = torch.tensor(rows)
        made[name] = (ids, ids.ne(0).long())
    trial = TrialBatches(**made, where="row(s) train.iloc[[7]] hold '[SEP]'")
    return BatchSpec(["input_ids", "attention_mask"], Padding(0, 0, side), 5, 10, 2, trial=trial)


class ReadsFirstPlace(nn.Module):
    """A model that reads the first position, as BERT's pooler does."""

    def forward(self, input_ids, attention_mask):
        return (input_ids[:, :1].float(),)


class CountsRows(nn.Module):
    """A model that stops at some batches, as those that count end marks do."""

    def forward(self, input_ids, attention_mask):
        if len(input_ids) > 1:
            raise ValueError("All examples must have the same number of <eos> tokens.")
        return (input_ids.float(),)


def data_with_a_mark():
    """Tell of a text that holds a special token's string."""
    read = examples(frame(text=["the fox [SEP] an owl", *"vwxyz"]))
    collator = TextCollator(TextEncoder(slow_tokenizer(".")))
    warn_of_marked_texts(collator, [("train", read.train, collator.encode_texts(read.train.texts))])


def without_padding(tokenizer):
    """Take the padding token away from a tokenizer of pytorch-transformers."""
    tokenizer._pad_token = None
    return tokenizer


class Takes(nn.Module):
    """A model that needs two inputs."""

    config = SimpleNamespace()

    def forward(self, input_ids, lengths):
        return (input_ids.float(),)


class TakesMask(nn.Module):
    """A model that takes a mask and has no padding id."""

    config = SimpleNamespace()

    def forward(self, input_ids, attention_mask=None):
        return (input_ids.float(),)


said(
    lambda: HFModel(nn.Sequential(nn.Linear(2, 1))).save_pretrained("folder"),
    lambda: HFModel(Takes(), inputs=["input_ids", "lengths"])(ids(), input_ids=ids()),
    lambda: HFModel(Takes(), forward_kwargs=["lengths"]),
    lambda: HFModel(Takes(), inputs=["input_ids"], forward_kwargs={"input_ids": 1}),
    lambda: HFModel(Takes(), forward_kwargs={"length": 1}),
    lambda: HFModel(TakesMask())(ids()),
    lambda: HFModel(Takes())(ids(), ids()),
    lambda: HFModel(Takes(), inputs=["input_ids", "lengths"])(ids()),
    lambda: HFModel(Takes(), inputs=["input_ids", "tokens"])(ids(), ids()),
    lambda: HFModel(Takes(), inputs=["input_ids"])(ids()),
    lambda: HFModel(TakesMask(), pad_token_id=0)({"input_ids": [[1, 2], [3, 4]]}),
    lambda: HFModel(Takes),
    lambda: HFModel(HFModel(Takes())),
    lambda: HFModel("bert-base-uncased"),
    lambda: HFModel(Takes(), inputs=["input_ids", "input_ids"]),
    lambda: HFModel(Takes(), pad_token_id="[PAD]"),
)

# -- outputs and gradients -----------------------------------------------------------------------------------------

LOGITS, HIDDEN = torch.zeros(4, 2), torch.zeros(4, 6, 8)
FOREIGN_LOOP = "loss_batch in my_patch.py, line 3"


class Broadcasts:
    """Outputs of a shape that the loss pairs with every target."""

    logits, target, loss_func = torch.randn(4, 1), torch.arange(4.0), staticmethod(nn.MSELoss())


class AdapterOutside(nn.Module):
    """A wrapper with an adapter around an HFModel, whose forward names the inputs otherwise."""

    peft_config = {"default": None}

    def __init__(self, model):
        super().__init__()
        self.base_model = model

    def forward(self, input_ids=None, attention_mask=None):
        return self.base_model(input_ids, attention_mask)


def make_adapter_outside():
    return AdapterOutside(HFModel(make_bert(), inputs=("input_ids", "token_type_ids")))


said(
    lambda: unwrap("logits"),
    lambda: unwrap({"hidden": HIDDEN, "pooled": LOGITS}),
    lambda: unwrap({"names": "x"}),
    lambda: unwrap({"loss": torch.tensor(1.0)}),
    lambda: unwrap(()),
    lambda: unwrap((torch.tensor(1.0),)),
    lambda: unwrap((LOGITS,), element=1.5),
    lambda: unwrap((LOGITS,), element="logits"),
    lambda: unwrap({"hidden": HIDDEN}, element="logits"),
    lambda: unwrap(SimpleNamespace(), element=1),
    lambda: unwrap((LOGITS,), element=3),
    lambda: unwrap((LOGITS, (HIDDEN, HIDDEN)), element=1),
    lambda: first_batch.check_adapter_inside(make_adapter_outside()),
    lambda: HFModel(make_bert()).classifier,
    lambda: read_batches(iter(()), 4, lambda train: 3),
    lambda: require_tensor_loss(lambda output, target: {"loss": output.sum()}, LOGITS, LOGITS),
    lambda: first_batch.check_no_mixup_of_ids(ids(), "MixUp() out of callback_fns"),
    lambda: first_batch.check_first_output(LOGITS, LOGITS, None, FOREIGN_LOOP, "callbacks"),
    lambda: raise_if_foreign("fastai.basic_train.loss_batch", FOREIGN_LOOP),
    lambda: first_batch.check_no_broadcast(Broadcasts.loss_func, Broadcasts.logits, Broadcasts.target),
    lambda: first_batch.check_gradient_flow(torch.tensor(1.0), LOGITS),
    lambda: mean_columnwise_auc(torch.zeros(4), torch.zeros(4)),
)

# -- layer groups --------------------------------------------------------------------------------------------------


def make_frozen_adapter():
    """Make a model that carries an adapter and trains nothing, as one loaded for inference."""
    model = make_bert().requires_grad_(False)
    model.peft_config = {"default": None}
    return model


said(
    lambda: build_layer_groups(make_frozen_adapter()),
    lambda: build_layer_groups(nn.Linear),
    lambda: build_layer_groups(make_bert().bert.encoder),
    lambda: build_layer_groups(nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
    lambda: build_layer_groups(make_bert(), n=99),
)

# -- comparisons ---------------------------------------------------------------------------------------------------


def other_start(**changes):
    """Make a patched arm that does not begin as the callback arm does."""
    patched = make_trace("patched")
    for name, value in changes.items():
        setattr(patched, name, value)
    return patched


said(
    lambda: build_comparison([make_trace("callback"), make_trace("patched", losses=(0.9, 0.7, 0.5, 0.4))]).check(),
    lambda: build_comparison([make_trace("callback"), other_start(initial_weights={"weight": "another"})]),
    lambda: build_comparison([make_trace("callback"), other_start(first_batch="another")]),
    lambda: trial.validate_arms(["callback", "callback"]),
    lambda: trial.build_learner("train.py", dict),
    lambda: trial.build_learner(lambda: None, dict),
    lambda: load_factory("train.py"),
    lambda: load_factory("nowhere.py:make"),
    lambda: load_factory(written("fails.py", "raise ValueError('no data here')") + ":make"),
    lambda: load_factory(written("names.py", FACTORIES) + ":make"),
    lambda: load_factory(written("names.py", FACTORIES) + ":number"),
    lambda: load_factory(written("names.py", FACTORIES) + ":takes"),
)

# -- tables, for the command line ----------------------------------------------------------------------------------


def table(content, text="text", labels=("kind",)):
    """Read a CSV as the command line does."""
    file = CsvFile(written("data.csv", content), on_command_line=True)
    return read_examples(file, file, text, list(labels), allow_blank=False)


said(
    lambda: table(CSV, labels=("kind", "kind")),
    lambda: read_examples("nowhere.csv", 0.2, "text", ["kind"]),
    lambda: table("text,kind\ncafé au lait,0\n".encode("latin-1")),
    lambda: table(""),
    lambda: table("text,kind\ntoo, many,1\nx,0\ny,0\n"),
    lambda: table('text,kind\n"never closed,0\nx,1\n'),
    lambda: table("text,kind\n"),
    lambda: table("text;kind\nx;a\n"),
    lambda: table(CSV, text="txt"),
    lambda: table("text,kind\n,0\nx,1\n"),
    lambda: table("text,a,b\nx,0,1\ny,1,2\n", labels=("a", "b")),
    lambda: table("text,kind\nx,0\ny,\nz,1\n"),
    lambda: table("text,kind\nx,0\ny,0\n"),
    lambda: table("text,kind,kind\nx,0,1\n"),
    lambda: examples(half_a_character()),
)

# -- examples, for text_data ---------------------------------------------------------------------------------------


def frame(**columns):
    """Make six rows; a column given as None is left out."""
    import pandas

    held = {
        "text": list("uvwxyz"),
        "label": list("ababab"),
        "a": [0, 1] * 3,
        "b": [1, 1, 0] * 2,
        "score": [0.5, 1, 2, 3, 4, 5],
        **columns,
    }
    return pandas.DataFrame({name: values for name, values in held.items() if values is not None})


def examples(train=None, valid=None, text="text", labels="label", **kwargs):
    """Call `read_examples`, with frames where nothing else is given."""
    train = frame() if train is None else train
    return read_examples(train, frame(text=list("UVWXYZ")) if valid is None else valid, text, labels, **kwargs)


def half_a_character():
    """Make a frame whose first text ends in a lone surrogate, which pandas' own str columns cannot hold."""
    held = frame()
    return held.assign(text=held.text.astype(object).where(held.text != "u", "half \ud83d"))


def words(**columns):
    """Make four rows of words and their labels."""
    import pandas

    return pandas.DataFrame(
        {
            "words": [["EU", "rejects"], ["Peter"], ["so"], ["in", "Bonn"]],
            "tags": [["B", "O"], ["B"], ["O"], ["O", "B"]],
            **columns,
        }
    )


def read_token_labels(train=None, text="words", labels="tags", **kwargs):
    """Read examples with a label per word."""
    train = words() if train is None else train
    return read_examples(train, train.iloc[:2], text, labels, **kwargs)


said(
    lambda: examples(frame(label=["a", None] * 3)),
    lambda: read_token_labels(text_pair="tags", labels="words", text="tags"),
    lambda: read_token_labels(words(second=list("abcd")), text_pair="second"),
    lambda: examples(labels=[]),
    lambda: examples(text=["text"]),
    lambda: examples(test=frame(a=None), labels=["a", "b"]),
    lambda: examples(frame(text=["x", None] * 3)),
    lambda: examples(frame(text=["x", 1] * 3)),
    lambda: read_token_labels(words(words=[["EU", 3], ["Peter"], ["so"], ["in", None]])),
    lambda: read_token_labels(words(tags=[["B"], ["B"], ["O"], ["O", "B"]])),
    lambda: examples(["x"]),
    lambda: examples(frame()[:0]),
    lambda: examples(test=frame()[:0]),
    lambda: examples(frame().assign(c=1).rename(columns={"c": "label"})),
    lambda: examples(labels=["a", "a"]),
    lambda: read_examples(frame(), None, "text", "label"),
    lambda: examples(valid="mark"),
    lambda: examples(valid=0.0),
    lambda: examples(valid=0.01),
    lambda: examples(valid=0.5, seed=-1),
    lambda: examples(frame(mark=["train", "valid", "x"] * 2), valid="mark"),
    lambda: examples(frame(mark=[1] * 6), valid="mark"),
    lambda: examples(frame(second=list("abcdef")), frame(second=list("abcdef")), text_pair="second", test=["x"]),
)

said(
    lambda: examples(frame(text=list("abcdef") * 5, label=[f"id{i}" for i in range(30)], a=None, b=None, score=None)),
    lambda: examples(task="singel"),
    lambda: examples(task="single_label_classification", labels=["a", "b"]),
    lambda: examples(labels=["a", "label"]),
    lambda: read_token_labels(words(text=["EU rejects", "Peter", "so", "in Bonn"]), text="text"),
    lambda: examples(frame(label=["['x', 'y']", "[]"] * 3)),
    lambda: examples(classes=["a"], labels="score"),
    lambda: examples(task="regression"),
    lambda: examples(task="multi_label_classification"),
    lambda: examples(frame(b=0), labels=["a", "b"]),
    lambda: read_token_labels(words(words=list("abcd"), tags=[[0, 1], [1, 0], [1, 1], [0, 1]])),
    lambda: read_token_labels(words(words=list("abcd"), tags=[["x"], "x", ["y"], ["y"]])),
    lambda: read_token_labels(words(words=list("abcd"), tags=[["x"], [{}], ["y"], ["y"]])),
    lambda: examples(frame(label="a")),
    lambda: examples(classes="ab"),
    lambda: examples(classes=["a", "bb"]),
    lambda: examples(valid=frame(label=list("abcabc"))),
)


class Hub:
    """An object with just enough of a Hugging Face dataset to be taken for one."""

    features = {}

    def to_pandas(self):
        raise AssertionError("nobody asks for its rows")


def make_questions(**columns):
    """Make two questions, their contexts and answers."""
    import pandas

    return pandas.DataFrame(
        {
            "question": ["who", "what"],
            "context": ["the fox sees", "an owl hides"],
            "answer": ["fox", "owl"],
            "place": [4, 3],
            **columns,
        }
    )


def questions(labels=("answer",), classes=None, **columns):
    """Read two questions, their contexts and answers."""
    held = make_questions(**columns)
    return read_examples(
        held, held, "question", list(labels), text_pair="context", task="question-answering", classes=classes
    )


said(
    lambda: examples({"train": Hub(), "test": Hub()}),
    lambda: examples(task="question-answering"),
    lambda: questions(classes=["fox", "owl"]),
    lambda: questions(labels=("answer", "place", "end"), end=[7, 6]),
    lambda: questions(answer=["fox", 3]),
    lambda: questions(labels=("answer", "place"), place=[4, 0.5]),
    lambda: questions(answer=["fox", "wren"]),
    lambda: questions(labels=("answer", "place"), place=[4, 4]),
)

# Warnings about rows that are unusual but not an error.
WARNED_READS = [
    lambda: examples(frame(text=["", " ", "c", "d", "e", "f"])),
    lambda: examples(frame(second=["", *"bcdef"]), frame(text=list("abcdef"), second=["x"] * 6), text_pair="second"),
    lambda: examples(valid=frame()),
    lambda: examples(test=["x", "\t"]),
]

# -- texts and tokenizers ------------------------------------------------------------------------------------------


def make_tokenizer(limit=64):
    """Make a tiny tokenizer of the installed library."""
    made = (slow_tokenizer if find_spec("pytorch_transformers") else fast_tokenizer)(".")
    made.max_len = made.model_max_length = limit
    return made


def encode_texts(texts, pairs=None, max_length=8, **kwargs):
    """Encode texts."""
    return TextEncoder(make_tokenizer(), max_length, **kwargs).encode(texts, pairs)


def make_collator(**kwargs):
    """Make the collator that `text_data` predicts with."""
    return TextCollator(TextEncoder(make_tokenizer(), 8), **kwargs)


WRITE = "data.add_test([{}, ...])"

said(
    lambda: TextEncoder("bert-base-uncased"),
    lambda: encode_texts(["x"], max_length="long"),
    lambda: encode_texts(["x"], tokenizer_workers=0),
    lambda: encode_texts(["x"], max_length=1),
    lambda: encode_texts(["x"], max_length=99),
    lambda: encode_texts([["x"]], ["y"]),
    lambda: encode_texts(["x", "y"], ["z"]),
    lambda: encode_texts("one text"),
    lambda: encode_texts(torch.zeros(2, 2).numpy()),
    lambda: encode_texts(["x", 3, None]),
    lambda: make_collator().read_texts_to_predict("one text", WRITE),
    lambda: make_collator().read_texts_to_predict([], WRITE),
    lambda: make_collator().read_texts_to_predict(frame()[["score"]], WRITE),
    lambda: make_collator().read_texts_to_predict(["", "the fox"], WRITE),
    lambda: make_collator(paired=True).check_item("x", WRITE),
    lambda: make_collator(is_split_into_words=True).check_item("x", WRITE),
    lambda: make_collator().check_item(3, WRITE),
)


def folder(name, config):
    """Make a model's folder with this config and nothing else."""
    Path(name).mkdir(exist_ok=True)
    written(f"{name}/config.json", config)
    return name


def passages(max_length=16, make=None):
    """Make the encoder of questions and contexts."""
    return QACollator(TextEncoder((make or fast_tokenizer)("."), max_length))


def cut_off():
    """Encode an answer beyond the room for its context."""
    collator, context = passages(8), "the fox sees the owl here often and the wren hides"
    collator.report_truncated_answers(collator.encode_texts([("the fox", context)]), [(40, 44)], "train")


said(
    lambda: passages(make=slow_tokenizer),
    cut_off,
    lambda: passages(8).encode_texts([("the old red fox sees", "a fern")]),
    lambda: span_logits((torch.zeros(4, 2),)),
    lambda: SpanLoss()(torch.zeros(4, 6), torch.zeros(4, 2).long()),
    lambda: SpanLoss()(torch.zeros(4, 2, 6), torch.zeros(4).long()),
    lambda: NextTokenLoss()(torch.zeros(4, 6), torch.zeros(4, 2).long()),
)

# -- settings and folders ------------------------------------------------------------------------------------------

said(
    lambda: check_arguments(0, None, 0, ".", None),
    lambda: check_arguments(8, None, 0, 3, None),
    lambda: check_max_length(Pretrained(None, None, 64), 128),
    lambda: load_pretrained("./nowhere"),
    lambda: load_pretrained(written("model", "x")),
    lambda: Path("empty").mkdir(exist_ok=True) or load_pretrained("empty"),
    lambda: _detect_architecture(folder("unknown", '{"model_type": "spam"}')),
)

# -- messages without a trigger ------------------------------------------------------------------------------------

# Room, how the message begins, and where it is tested or why it cannot occur unless a library is removed.
UNTRIGGERED = [
    ("data/batches/collate.py", "{} of {} texts to predict hold", "tests/fastai2/data/test_training.py, and fastai1's"),
    ("fastai2/data/dataset.py", "texts of text_data were given", "tests/fastai2/data/test_training.py"),
    ("data/marked_texts.py", "{}", "hands on what describe_marked_texts writes: tests/model/test_input_trials.py"),
    ("diagnosis/checks/substitution.py", "{}", "tests/diagnosis/checks/test_checks.py: a cause for each kind of part"),
    ("diagnosis/event_replay.py", "{} raises in", "becomes a finding: tests/both_fastais/test_event_replay.py"),
    ("diagnosis/event_replay.py", "{} calls itself", "becomes a finding: tests/both_fastais/test_event_replay.py"),
    ("diagnosis/event_replay.py", "{}", "an attribute that a copy without a state does not have"),
    ("fastai1/diagnosis/learner_adapter.py", "The callbacks cannot", "told where the trial of a fix ends"),
    ("model/sanity_checks.py", "{} around an HFModel trains", "tests/fastai2/test_adapters.py: needs peft"),
    ("fastai1/diagnosis/learner_adapter.py", "{}", "becomes a finding: tests/diagnosis/test_verdict.py"),
    (
        "fastai2/diagnosis/learner_adapter.py",
        "One loader was given",
        "becomes a finding: tests/diagnosis/test_verdict.py",
    ),
    ("fastai2/diagnosis/learner_adapter.py", "{}", "becomes a finding: tests/diagnosis/test_verdict.py"),
    (
        "fastai2/diagnosis/learner_adapter.py",
        "the batches hold no targets",
        "is no error: what a probe does not apply to",
    ),
    ("model/weights/precision.py", "{} HFCallback", "says what was widened: tests/model/weights/test_precision.py"),
    ("__init__.py", "No fastai is installed", "tests/test_architecture.py"),
    ("__init__.py", "{} is not there", "tests/test_contributing.py: a room that has been begun"),
    ("cli/main.py", "{}", "hands on what __init__.py says where no fastai is installed, or Python where a part is not"),
    ("cli/main.py", "--html needs jinja2", "tests/cli/test_main.py"),
    ("cli/main.py", "--lr {}: too large", "tests/cli/bad_inputs: what an optimizer computes with"),
    ("cli/factory_file.py", "{}: Python cannot load", "for mypy: Python has a loader for every .py file"),
    ("report/page.py", "a page is made with jinja2", "tests/report/test_page.py"),
    ("model/pretrained.py", "neither pytorch-transformers nor transformers", "both are not installed"),
    (
        "model/pretrained.py",
        "no model could be loaded",
        "tests/cli/test_main.py: quotes the libraries, in their words of the day",
    ),
    ("model/pretrained.py", "{}: its tokenizer knows", "tests/cli/bad_inputs: transformers makes such tokenizers"),
    ("model/pretrained.py", "its tokenizer", "quoted by load_pretrained"),
    ("model/pretrained.py", "{}: no model could be made", "tests/cli/bad_inputs: quotes the libraries"),
    ("model/pretrained.py", "{}: the weights do not fit", "tests/cli/bad_inputs: needs weights"),
    ("model/pretrained.py", "no such name or folder", "quoted by load_pretrained"),
    ("model/pretrained.py", "no pytorch_model.bin", "quoted by load_pretrained"),
    ("data/arguments.py", "device=", "tests/fastai1/data/test_text_data.py: quotes torch, in its words of the day"),
    ("utils/distributed.py", "The processes have", "in several processes alone"),
    ("utils/distributed.py", "An order drawn", "in several processes alone"),
    (
        "utils/distributed.py",
        "{} was called in a group",
        "tests/fastai2/compat/test_distributed.py: in several processes alone",
    ),
    ("data/batches/sampler.py", "{} row(s) for {} processes", "in several processes alone"),
    (
        "data/encoding/slow_tokenization.py",
        "the tokenizer has no id for",
        "tests/data/encoding/test_encoder_input.py: a vocabulary without its unknown token",
    ),
    ("fastai2/metrics.py", "the metric asked for", "caught by the probe: such a metric is left out"),
    (
        "fastai2/diagnosis/learner_adapter.py",
        "a callback cancels the batch",
        "caught by the examination that raises it",
    ),
]
