"""explain: exceptions raised for real by torch, numpy, fastai and Hugging Face's models, and what is said of them."""

import copy
import io
import pickle
import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from fastai_hf_callback.cli.explanation import suggest_fix
from fastai_hf_callback.diagnosis.checks.failures import (
    _PATTERNS,
    REASONS,
    build_finding,
    classify_exception,
)
from fastai_hf_callback.diagnosis.diagnosis import explain_exception as explain
from fastai_hf_callback.errors import (
    ComparisonError,
    FastaiHFError,
    GradientError,
    InputError,
    InvalidInputError,
    OutputError,
    PatchError,
)
from fastai_hf_callback.model.output import unwrap
from fastai_hf_callback.model.wrapper import HFModel
from fastai_hf_callback.results.finding import Action
from tests.tiny_models import VOCAB, ClassifierOutput, ids, tiny_model

CLASSES, LABELS, NUMBERS = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()
logits, classes, values = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.rand(4, 3)
VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


def raised_by(action):
    """The exception that `action` raises; it must raise one."""
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def cause_of(action):
    (finding,) = explain(raised_by(action)).findings
    return finding.cause


# -- what reaches the loss -----------------------------------------------------------------------------------------

LOSSES = {"CE": (CLASSES, classes), "BCE": (LABELS, values), "MSE": (NUMBERS, values)}
TARGETS = pytest.mark.parametrize("loss", LOSSES)


# Once: collections.OrderedDict is said with its module ("must be Tensor, not collections.OrderedDict").
@TARGETS
@pytest.mark.parametrize(
    "wrapped",
    [
        (logits,),
        [logits],
        (logits, (logits, logits)),
        OrderedDict(logits=logits),
        {"logits": logits},
        ClassifierOutput(logits=logits),
    ],
    ids=lambda output: f"{type(output).__name__} of {len(output)}",
)
def test_an_output_that_nobody_unwrapped(loss, wrapped):
    function, target = LOSSES[loss]
    assert cause_of(lambda: function(wrapped, target)) == "output-not-unwrapped"
    assert float(function(unwrap(wrapped), target)) >= 0


@TARGETS
def test_the_output_of_a_real_model_that_nobody_unwrapped(loss):
    function, target = LOSSES[loss]
    output = tiny_model("bert", 3)(ids())
    assert cause_of(lambda: function(output, target)) == "output-not-unwrapped"


@TARGETS
def test_a_model_output_of_transformers_that_nobody_unwrapped(loss):
    function, target = LOSSES[loss]
    output = tiny_model("bert of transformers 5", 3)(ids())
    assert cause_of(lambda: function(output, target)) == "output-not-unwrapped"


def test_one_row_of_logits_under_cross_entropy():
    assert cause_of(lambda: CLASSES(logits[0], classes)) == "batch-dimension-lost"


@pytest.mark.parametrize(
    "outputs, targets, cause",
    (
        (120, 8, "label-per-text-or-word"),
        (8, 480, "label-per-text-or-word"),
        (1, 8, "batch-dimension-lost"),
        (8, 9, "batch-dimension-lost"),
    ),
)
def test_outputs_per_word_for_labels_per_text_and_the_other_way_round(outputs, targets, cause):
    assert cause_of(lambda: CLASSES(torch.zeros(outputs, 3), torch.zeros(targets).long())) == cause


def test_one_row_of_logits_under_binary_cross_entropy_does_not_fit():
    assert cause_of(lambda: LABELS(logits[0], values)) in ("batch-dimension-lost", "target-shape")


def test_a_single_number_under_cross_entropy():
    assert cause_of(lambda: CLASSES(logits[0][0], classes)) in ("batch-dimension-lost", "target-shape")


def test_every_parameter_frozen():
    model = nn.Linear(3, 3)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert cause_of(lambda: CLASSES(model(logits), classes).backward()) == "everything-frozen"
    assert cause_of(lambda: torch.optim.SGD([], 0.1)) == "everything-frozen"


# -- targets and ids -----------------------------------------------------------------------------------------------


# Once: torch 2.13 says "expected target dtype to be Long or Byte, but got Float".
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32], ids=str)
def test_targets_of_another_dtype_under_cross_entropy(dtype):
    assert cause_of(lambda: CLASSES(logits, classes.to(dtype))) == "target-dtype"


def test_integer_targets_under_binary_cross_entropy():
    assert cause_of(lambda: LABELS(logits, torch.ones(4, 3, dtype=torch.long))) == "target-dtype"


def test_one_column_against_a_plain_row_under_binary_cross_entropy():
    assert cause_of(lambda: LABELS(logits[:, :1], values[:, 0])) == "target-shape"


def test_a_column_of_classes_under_cross_entropy():
    assert cause_of(lambda: CLASSES(logits, classes[:, None])) == "target-shape"


def test_numbers_that_cannot_be_broadcast():
    assert cause_of(lambda: NUMBERS(logits, values[:, :2])) == "target-shape"


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_outside_the_range(wrong):
    assert cause_of(lambda: CLASSES(logits, torch.tensor([0, 1, 2, wrong]))) == "label-outside-range"


@pytest.mark.parametrize("name", ["bert", "xlnet", "distilbert"])
def test_a_token_outside_the_vocabulary(name):
    bad = ids()
    bad[0, 0] = VOCAB
    assert cause_of(lambda: tiny_model(name)(bad)) == "token-outside-vocabulary"


def test_a_text_longer_than_the_positions():
    assert cause_of(lambda: tiny_model("bert")(ids(length=40))) == "token-outside-vocabulary"


# -- batches and files ---------------------------------------------------------------------------------------------


def test_rows_that_nobody_padded():
    rows = [(torch.zeros(length), 0) for length in (3, 5)]
    assert cause_of(lambda: next(iter(DataLoader(rows, batch_size=2)))) == "rows-of-different-length"


@pytest.mark.skipif(tuple(map(int, np.__version__.split(".")[:2])) < (1, 24), reason="numpy before 1.24 allows them")
def test_a_ragged_array():
    assert cause_of(lambda: np.array([[1, 2], [1, 2, 3]])) == "ragged-numpy"


@pytest.mark.skipif(VERSION < (2, 6), reason="torch.load before 2.6 reads everything")
def test_a_full_pickle():
    file = io.BytesIO()
    torch.save({"loss": pickle.PickleError}, file)
    file.seek(0)
    assert cause_of(lambda: torch.load(file)) == "weights-only-load"
    said = explain(RuntimeError("Weights only load failed, \x1b[1mso\x1b[0m it is")).findings[0]
    assert "\x1b" not in said.message and said.action == Action("load-full-file")


# -- what forward takes --------------------------------------------------------------------------------------------


def test_an_argument_that_forward_does_not_take():
    assert cause_of(lambda: tiny_model("bert")(ids(), langs=ids())) == "wrong-inputs"


def test_an_argument_that_is_missing():
    assert cause_of(lambda: tiny_model("bert")()) == "wrong-inputs"


def test_more_positional_arguments_than_forward_takes():
    assert cause_of(lambda: nn.Linear(2, 2)(logits, logits)) == "wrong-inputs"


def test_an_argument_that_a_model_of_today_does_not_take():
    model = tiny_model("bert of transformers 5")
    assert cause_of(lambda: model.classifier(ids(), langs=ids())) == "wrong-inputs"


# Once: "eval() missing 1 required positional argument: 'self'" -> callback-class-not-instance.
def test_a_class_whose_method_is_called():
    assert cause_of(lambda: nn.Linear.eval()) == "class-instead-of-instance"


# torch 1.4 once: "_th_addmm not supported on CPUType for Half" is unknown.
def test_half_and_full_precision_in_one_layer():
    assert cause_of(lambda: nn.Linear(3, 3).half()(logits)) == "dtype-mismatch"


# Once: bfloat16 was in no pattern, and "expected scalar type Float but found BFloat16" the targets' dtype.
@pytest.mark.skipif(torch.__version__.startswith("1."), reason="messages of today's torch")
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
@pytest.mark.parametrize(
    "operation",
    (
        lambda half: nn.Linear(3, 3)(half),
        lambda half: half @ half.float().T,
        lambda half: torch.lerp(half, half.float(), 0.5),  # fastai 2's Recorder
        lambda half: nn.Conv1d(3, 3, 1)(half[None].transpose(1, 2)),
        lambda half: nn.LSTM(3, 3)(half),
        lambda half: torch.einsum("ij,kj->ik", half.float(), half),
        lambda half: nn.functional.scaled_dot_product_attention(half[None].float(), half[None], half[None]),
        lambda half: torch.fft.fft(half),
        lambda half: torch.linalg.inv(half[:, :2]),
        lambda half: np.asarray(half.bfloat16().numpy()),  # what sklearn's metrics do
    ),
)
def test_half_precision_where_it_is_not_taken(operation, dtype):
    assert cause_of(lambda: operation(torch.randn(2, 3).to(dtype))) == "dtype-mismatch"


# -- our own errors ------------------------------------------------------------------------------------------------


def test_our_own_errors_keep_their_cause_and_say_what_to_write():
    finding = classify_exception(raised_by(lambda: unwrap({"a": logits, "b": logits})))
    assert (finding.cause, finding.severity) == ("ambiguous-output", "error")
    assert "none is called 'logits'" in finding.message and finding.fix


def test_an_input_error_names_what_to_write():
    finding = classify_exception(raised_by(lambda: HFModel(nn.Linear(2, 2), inputs=None)(ids(), ids())))
    assert finding.cause == "inputs-unnamed" and finding.fix.startswith("HFModel(model, inputs=")


@pytest.mark.parametrize(
    "error, cause",
    [
        (OutputError("x"), "ambiguous-output"),
        (InputError("x"), "input-names"),
        (GradientError("x"), "no-gradient-in-model"),
        (GradientError("x", "loss-detached"), "loss-detached"),
        (PatchError("x"), "patch-active"),
        (OutputError("x", "loss-broadcasts"), "loss-broadcasts"),
        (ComparisonError("x"), "arms-differ"),
        (InvalidInputError("x"), "invalid-input"),
    ],
)
def test_every_error_of_ours_is_explained_under_its_own_cause(error, cause):
    assert explain(error).causes == [cause]
    assert not explain(error).healthy


def test_an_error_of_ours_is_known_by_its_cause_and_not_by_its_words():
    assert explain(FastaiHFError("CUDA out of memory", "registration")).causes == ["registration"]


def test_what_an_unknown_exception_was_raised_from_is_explained():
    def both():
        try:
            CLASSES((logits,), classes)
        except Exception as error:
            raise OSError("fit stopped") from error

    assert cause_of(both) == "output-not-unwrapped"


def test_an_unknown_exception_without_a_cause_stays_unknown():
    assert cause_of(lambda: open("no such file")) == "unknown-failure"


# Its loading cannot be made to fail here: the two kinds of words are those of a CUDA build beside a CPU torch.
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
        ImportError("/x/torchvision/_C.so: undefined symbol: _ZN3c104cuda9SetDeviceEa"),
    ],
)
def test_another_builds_torchvision_is_to_be_taken_out(error):
    (finding,) = explain(error).findings
    assert finding.cause == "torchvision-and-torch-differ" and "pip uninstall -y torchvision" in finding.fix
    assert suggest_fix(error) == f"; {finding.fix}" and suggest_fix(ZeroDivisionError()) == ""


# -- no false causes -----------------------------------------------------------------------------------------------


# The innocent: what they say must not look like a failure of the model.
# Once: IndexError of a list -> token-outside-vocabulary; "Half ... float" in any sentence -> dtype-mismatch.
@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "{}['output']",
        "{}['tuple']",
        "raise RuntimeError('something is wrong')",
        "raise ValueError",
        "[][3]",
        "raise RuntimeError('the reader stopped')",
        "assert False",
        "int('x')",
        "import no_such_module",
        "(1, 2)[5]",
        "raise KeyError('last_output')",
        "raise FileNotFoundError('model.pth')",
        "np.zeros(3).reshape(2, 2)",
        "[].pop()",
        "None.logits",
        "(1).logits",
        "'a' + 1",
        "len(3)",
        "class A: pass\nA().x",
        "'tuple'.shape",
        "torch.zeros(3)[7]",
        "raise RuntimeError('list of files is empty')",
        "raise ValueError('Half of the rows are float')",
        "np.zeros((2, 3)) @ np.zeros((2, 3))",
        "import pandas\npandas.DataFrame({'a': [1]}).iloc[4]",
    ],
)
def test_an_unrelated_exception_gets_no_false_cause(code):
    assert cause_of(lambda: exec(code, {"torch": torch, "np": np})) == "unknown-failure"


# Once: the patterns match Python's own words wherever they come from: any function's missing argument is the model's
# forward, any attribute that a tuple lacks is a tensor's, any class's missing attribute an instance forgotten.
@pytest.mark.parametrize(
    "code",
    [
        "(1, 2).append(3)",
        "def f(a): pass\nf()",
        "def f(): pass\nf(b=1)",
        "open('x', foo=3)",
        "int.nothing",
        "def augment(a, b): pass\naugment(1)",
        "def f(): pass\nf(1)",
    ],
)
def test_a_slip_in_plain_python_gets_no_false_cause(code):
    assert cause_of(lambda: exec(code, {})) == "unknown-failure"


# Once: "size mismatch for weight: copying a param ..." of load_state_dict -> target-shape.
def test_weights_of_another_width_are_no_matter_of_targets():
    assert cause_of(lambda: nn.Linear(2, 2).load_state_dict(nn.Linear(2, 3).state_dict())) != "target-shape"


# torch 1.4 once: "size mismatch, m1: ..., m2: ..." of a layer of another width -> target-shape.
def test_a_layer_of_another_width_is_no_matter_of_targets():
    assert cause_of(lambda: nn.Linear(2, 2)(logits)) != "target-shape"


def test_an_unknown_failure_says_what_was_said_and_is_an_error():
    (finding,) = explain(ZeroDivisionError("division by zero")).findings
    assert finding.severity == "error" and "ZeroDivisionError: division by zero" in finding.message
    assert "traceback" in finding.fix


# -- the catalogue itself ------------------------------------------------------------------------------------------


def test_every_pattern_leads_to_a_reason():
    assert {cause for _, cause in _PATTERNS} <= set(REASONS)


@pytest.mark.parametrize("cause", sorted(REASONS))
def test_every_reason_says_what_it_means_and_what_to_do(cause):
    finding = build_finding(cause, "TypeError: said\nin two lines")
    assert finding.cause == cause and finding.severity == "error"
    assert (finding.action or finding.fix) == REASONS[cause].fix
    assert finding.message == f"{REASONS[cause].meaning} Seen: TypeError: said in two lines"


def test_a_long_message_is_cut_to_one_line():
    finding = build_finding("target-shape", "word\n" * 500)
    assert len(finding.evidence["message"]) == 300 and finding.evidence["message"].endswith("...")


def test_a_cause_without_a_reason_says_what_its_error_says():
    finding = build_finding("bad-element", "Given x; expected y. Write element=0.")
    assert (finding.message, finding.fix) == ("Given x; expected y. Write element=0.", "element=0")
    assert build_finding("bad-element", "Given x. Give y").fix == "Give y"
    assert build_finding("bad-element", "Given x").fix == "Given x"
    assert (
        build_finding("registration", "Given x: y. It goes on. Hand on z, or unfreeze: f().").fix
        == "Hand on z, or unfreeze: f()"
    )
    assert build_finding("invalid-input", "a.csv: no column 'b'; write a.rename()").fix == "a.rename()"


def test_weights_of_another_model():
    assert cause_of(lambda: nn.Linear(3, 2).load_state_dict(nn.Linear(3, 5).state_dict())) == "saved-from-another-model"


def test_the_users_own_line_is_named():
    finding = classify_exception(raised_by(lambda: {}["absent"]))
    assert "Your own code raised it" in finding.message and "test_failures.py, line" in finding.fix


def test_a_line_that_only_called_what_raised_is_not_said_to_have_raised_it():
    finding = classify_exception(raised_by(lambda: copy.deepcopy(threading.Lock())))
    assert "Your own code raised it" not in finding.message and "last line of your own code" in finding.message


def test_no_advice_for_an_unknown_failure_that_would_not_make_it_again():
    assert "fit" not in build_finding("unknown-failure", "what was said").fix
