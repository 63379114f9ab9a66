"""An exception -> its cause, under the names of the other checks. Imports torch, ``errors`` and ``results/``."""

import re
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Container, Dict, List, NamedTuple, Optional, Tuple, Union

from torch import Tensor, nn

from fastai_hf_callback.errors import FastaiHFError, describe_exception
from fastai_hf_callback.results.finding import Action, Finding
from fastai_hf_callback.utils.own_code import find_own_line

__all__ = ["build_finding", "classify_exception", "find_calling_callback", "match_cause"]


class Reason(NamedTuple):
    """What a failure means and what to do about it: a line that is the same on every fastai, or an action."""

    meaning: str
    fix: Union[str, Action]


_INPUT_NAMES_FIX = "HFModel(model, inputs=('input_ids', 'attention_mask'))"

REASONS: Dict[str, Reason] = {
    "output-not-unwrapped": Reason(
        "The model returned a tuple, list or ModelOutput, and nothing unwrapped it before the loss.",
        Action("add-callback"),
    ),
    "callback-class-not-instance": Reason(
        "A callback's class is among the callbacks; expected an instance.",
        Action("instantiate-callback"),
    ),
    "callback-instance-in-callback-fns": Reason(
        "A callback's instance is in callback_fns, which fastai calls with the learner; expected a class there.",
        Action("move-to-callbacks"),
    ),
    "unwrapping-in-callback-fns": Reason(
        "The output is unwrapped by a callback in callback_fns, which reach neither validate nor pred_batch.",
        Action("move-to-callbacks", note="and take it out of callback_fns"),
    ),
    "metric-not-wrapped": Reason(
        "A bare function stands among the metrics; expected a metric, which fastai makes of it on an assignment.",
        Action("wrap-metrics"),
    ),
    "model-called-in-callback": Reason(
        "A callback calls the model itself, where nothing unwraps the output: HFCallback does so in fastai's loop.",
        "unwrap(self.model(*batch))  # from fastai_hf_callback import unwrap; in the callback named above",
    ),
    "wrong-key-returned": Reason(
        "A callback returned a key that fastai's state does not have.",
        Action("return-logits"),
    ),
    "class-instead-of-instance": Reason(
        "A class was given where an instance is wanted.", "HFModel(BertForSequenceClassification.from_pretrained(...))"
    ),
    "batch-dimension-lost": Reason(
        "The output has no batch dimension any more: a tensor was unwrapped once too often.",
        "Unwrap once: HFCallback() and no [0] elsewhere",
    ),
    "label-per-text-or-word": Reason(
        "The model gives an output per token and the labels are one per text, or the other way round.",
        "BertForSequenceClassification.from_pretrained(...)  # for a "
        "label per text; BertForTokenClassification for one per word",
    ),
    "decoder-inputs-missing": Reason(
        "An encoder-decoder has nothing to decode: it makes its decoder's inputs of labels, or is given "
        "decoder_input_ids, and neither is among its inputs, so that it decodes the source or nothing.",
        "HFModel(model, inputs=('input_ids', 'attention_mask', 'labels'))  # the labels twice in a row: for the model, "
        "and as the target",
    ),
    "everything-frozen": Reason(
        "The loss requires no gradient: every parameter is frozen, or the model ran under no_grad.",
        Action("unfreeze"),
    ),
    "inputs-in-wrong-arguments": Reason(
        "The batch's tensors arrive in the wrong arguments of forward.", _INPUT_NAMES_FIX
    ),
    "wrong-inputs": Reason("The batch and the model's forward do not fit together.", _INPUT_NAMES_FIX),
    "token-outside-vocabulary": Reason(
        "A token id, position or token type lies outside the model's embedding table: "
        "another tokenizer, a longer text, or tensors in the wrong arguments.",
        "print(int(input_ids.max()), model.config.vocab_size)",
    ),
    "label-outside-range": Reason(
        "A class is not below the number of outputs.", "config.num_labels = df[label].nunique()  # and labels from 0 on"
    ),
    "target-dtype": Reason(
        "The targets' dtype is not what the loss takes: float for BCE and MSE, int64 for cross entropy.",
        "y = y.float()  # for BCEWithLogitsLoss and MSELoss; y.long() for classes",
    ),
    "target-shape": Reason(
        "Output and target differ in shape.",
        "HFCallback(element=lambda output: output[0].squeeze(-1))  # or give both one shape",
    ),
    "rows-of-different-length": Reason(
        "The rows of a batch have different lengths and nothing padded them.",
        Action("pad-batches", note="one that pads to the longest row"),
    ),
    "ragged-numpy": Reason(
        "numpy 1.24 and later refuse ragged arrays: lists of different lengths, as texts are before padding.",
        Action("avoid-ragged-arrays"),
    ),
    "weights-only-load": Reason(
        "torch.load reads only weights by default since 2.6, and this file holds more.",
        Action("load-full-file"),
    ),
    "device-mismatch": Reason("Tensors are on different devices.", Action("move-model")),
    "dtype-mismatch": Reason(
        "Half and full precision (float16 or bfloat16, and float32) meet in one operation, or one takes no half.",
        Action("match-precision", note="every weight in float32"),
    ),
    "out-of-memory": Reason("The device has no memory left.", "bs=8  # a smaller batch, or shorter texts"),
    "torchvision-and-torch-differ": Reason(
        "torchvision was built for another torch, and transformers looks for it.",
        "pip uninstall -y torchvision  # nothing here needs it",
    ),
    "patch-active": Reason("fastai's loop is already patched.", "Restart the kernel, without the patch's cell"),
    "padding-id-missing": Reason(
        "A decoder's head looks for each row's last token, and the config names no padding id to leave out.",
        "model.config.pad_token_id = tokenizer.pad_token_id  # after tokenizer.pad_token = tokenizer.eos_token "
        "where the tokenizer has none",
    ),
    "checkpoint-of-another-head": Reason(
        "The checkpoint's weights have other shapes than the model's: a head for another number of classes.",
        "from_pretrained(folder, num_labels=n, ignore_mismatched_sizes=True)  # a new head, to be trained; or without "
        "num_labels, as the folder has it",
    ),
    "saved-from-another-model": Reason(
        "The file holds the weights of another model: of other shapes, or under other names.",
        "learn.load(name)  # on a Learner made as the saved one was: the same model class, the same num_labels",
    ),
    "image-size": Reason(
        "The images have another size than the model was made for.",
        "AutoImageProcessor.from_pretrained(folder)  # resizes to the model's size, config.image_size; or HFModel(..., "
        "forward_kwargs={'interpolate_pos_encoding': True})",
    ),
    "attentions-not-given": Reason(
        "Attentions are asked for, and this way of computing attention gives none.",
        "from_pretrained(folder, attn_implementation='eager')  # or model.set_attn_implementation('eager')",
    ),
    "metric-of-two-classes": Reason(
        "A metric of scikit-learn's is for two classes as it stands, and there are more.",
        "F1Score(average='macro')  # or 'micro', 'weighted'; as Precision, Recall, Jaccard; the other metrics stay",
    ),
    "kappa-without-weights": Reason(
        "KappaScore() counts on an attribute that its own code does not set, unless weights are given.",
        Action("weigh-kappa"),
    ),
    "accumulation-of-several-inputs": Reason(
        "AccumulateScheduler reads the shape of the inputs, of which this model has several.",
        Action("accumulate-with-heal"),
    ),
    "unknown-failure": Reason(
        "This failure is not in the catalogue.",
        "Make the same call again on one batch, and read the traceback from its last line up",
    ),
}

# Patterns over "ExceptionType: text"; the first that matches counts. Messages of torch, fastai and the models, in all
# installed versions; each is raised for real in tests/diagnosis/checks/test_failures.py.
_TENSOR_ATTRIBUTES = "|".join(name for name in dir(Tensor) if name[0] != "_")
_PATTERNS: List[Tuple[str, str]] = [
    (r"[Cc]annot handle batch sizes > 1 if no padding token", "padding-id-missing"),
    (r"ignore_mismatched_sizes", "checkpoint-of-another-head"),
    (r"Error\(s\) in loading state_dict", "saved-from-another-model"),
    (r"(?i:(input )?image (height|size|width)) \(.*(match|expected)", "image-size"),
    (r"output_attentions.*(not supported|eager)", "attentions-not-given"),
    (r"Target is multi\S* but average='binary'", "metric-of-two-classes"),
    (
        r"'(function|builtin\w+|partial)' object has no attribute '(reset|accumulate)'",
        "metric-not-wrapped",
    ),
    (r"'KappaScore' object has no attribute 'x'", "kappa-without-weights"),
    (r"out of memory", "out-of-memory"),
    (r"isn't a valid key in the state of the callbacks", "wrong-key-returned"),
    (
        r"on_\w+\(\) missing 1 required positional argument: 'self'|takes 1 positional argument but 2 were given.*on_|"
        r"on_\w+\(\) (takes 0 positional|missing \d+ required)|unbound method",
        "callback-class-not-instance",
    ),
    (
        r"'\w*(Callback|Recorder|Trainer|Clipping|Unwrap\w*)' object is not callable",
        "callback-instance-in-callback-fns",
    ),
    (
        r"type object '\w*(Model|For\w+)' has no attribute|missing 1 required positional argument: 'self'|"
        r"no attribute '_apply'|(?i:bool(ean)? value of Tensor) with more than|__call__\(\) missing|'type' object|"
        r"parameters\(\) missing 1 required|modules\(\) missing 1",
        "class-instead-of-instance",
    ),
    (r"^TypeError: \w+\(\) takes no arguments", "callback-instance-in-callback-fns"),
    (r"has no attribute 'reset'", "unwrapping-in-callback-fns"),
    (r"does not require grad and does not have a grad_fn|optimizer got an empty parameter list", "everything-frozen"),
    (
        r"(must be Tensor, not|object of type|invalid argument.*|expected Tensor as.*but got|got )\W*"
        r"\(?'?(collections\.)?(tuple|list|dict|OrderedDict|\w*Output\w*)\b|"
        r"'(collections\.)?(tuple|list|dict|OrderedDict|\w*Output\w*)' object has no attribute '("
        + _TENSOR_ATTRIBUTES
        + r")'|"
        r"\((tuple|list|dict|\w*Output\w*), (Tensor|Parameter)|for -: '(tuple|list|dict|\w*Output\w*)'",
        "output-not-unwrapped",
    ),
    (r"Target \S+ is out of bounds|Assertion `?.*(cur_target|t) >= 0|Assertion.*n_classes", "label-outside-range"),
    (
        r"(?<!list )(?<!tuple )(?<!string )index out of range|out of range in self|index out of bounds|"
        r"srcIndex < srcSelectDimSize",
        "token-outside-vocabulary",
    ),
    (
        r"Dimension out of range \(expected to be in range of \[-1, 0\]|Expected input batch_size \(\d+\) to match|"
        r"For 1D input, 1D target|size mismatch \(got input: \[\d+\], target|"
        r"dimension specified as 0 but tensor has no dimensions",
        "batch-dimension-lost",
    ),
    (
        r"stack expects each tensor to be equal size|Sizes of tensors must match|"
        r"invalid argument 0: Sizes of tensors",
        "rows-of-different-length",
    ),
    (r"inhomogeneous shape", "ragged-numpy"),
    (r"[Ww]eights.only|WeightsUnpickler", "weights-only-load"),
    (r"Expected all tensors to be on the same device|Expected object of device type|but got device", "device-mismatch"),
    (
        r"^RuntimeError.*(\b(Half|BFloat16)\b.*\b[fF]loat\b|\b[fF]loat\b.*\b(Half|BFloat16)\b|"
        r"(not implemented for '|CPUType for |[Uu]nsupported dtype |not supported. Got )(Half|BFloat16)|"
        r"mixed dtype \(C|same dtype, but got)|unsupported ScalarType BFloat16|RNN input dtype|unscale FP16 gradients",
        "dtype-mismatch",
    ),
    (
        r"expected target dtype|expected scalar type (Long|Float|Double).*(found|but got)|Found dtype Long|"
        r"result type Float can't be cast|Expected floating point type for target|"
        r"\"?nll_loss\w*\"? not implemented for|"
        r"expected object of scalar type Long",
        "target-dtype",
    ),
    (
        r"Target size .* must be the same as input size|Using a target size|The size of tensor a \(\d+\) must match|"
        r"same number of elements but got|multi-target not supported|shape mismatch",
        "target-shape",
    ),
    (r"specify (either )?decoder_input(_id)?s", "decoder-inputs-missing"),
    (
        r"forward\(\) (got an unexpected keyword|missing \d+ required|takes (from )?\d+)"
        r"|specify both|specify either|required keyword",
        "wrong-inputs",
    ),
    (r"loss_batch.*patched|already patched", "patch-active"),
    (
        r"torchvision::nms|torchvision\S* .*undefined symbol|partially initialized module 'torchvision'|"
        r"compiled with different CUDA major versions",
        "torchvision-and-torch-differ",
    ),
]


_ANSI_COLORS = re.compile("\x1b\\[[0-9;]*m")  # of torch's own messages


def classify_exception(exception: BaseException, actions: Optional[Container[str]] = None) -> Finding:
    """Find the cause for :func:`explain`; with a fastai's `actions`, only among the causes that exist there."""
    if isinstance(exception, FastaiHFError):
        return build_finding(exception.cause, exception.message)
    message = describe_exception(exception)  # in one line: fastai 2 puts the text on a second one
    functions = _traceback_functions(exception)
    # An error of a callback before the model has run says nothing about the model's output.
    cause = "unknown-failure" if "on_batch_begin" in functions[-1:] else match_cause(message, actions)
    if cause in _MISFITS and _lacks_decoder_inputs(exception):
        cause = "decoder-inputs-missing"
    if functions[-1:] == ["on_batch_begin"] and re.search(r"'(list|tuple)' object has no attribute 'shape'", message):
        cause = "accumulation-of-several-inputs" if _raised_in(exception, "train.py") else cause
    if isinstance(exception, IndexError) and "create_opt" in functions:
        cause = "everything-frozen"  # fastai 2 asks for the first of no parameters
    if cause == "unknown-failure" and exception.__cause__ is not None:
        return classify_exception(exception.__cause__, actions)
    caller = find_calling_callback(exception) if cause == "output-not-unwrapped" else ""
    if caller:
        cause, message = "model-called-in-callback", f"{message} (in {caller})"
    finding = build_finding(cause, message)
    return _point_to_own_line(finding, exception) if cause == "unknown-failure" else finding


# What it looks like where logits are as wide as the source, and targets as the translation.
_MISFITS = ("label-per-text-or-word", "batch-dimension-lost", "target-shape")


def _lacks_decoder_inputs(exception: BaseException) -> bool:
    """Return whether a frame that the exception passed holds an encoder-decoder that was given no labels."""
    frame = exception.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        model = (
            owner if isinstance(owner, nn.Module) else vars(owner).get("model") if hasattr(owner, "__dict__") else None
        )
        if isinstance(model, nn.Module) and _is_fed_without_labels(model):
            return True
        frame = frame.tb_next
    return False


def _is_fed_without_labels(model: nn.Module) -> bool:
    named = [getattr(m, "input_names", None) for m in model.modules()]
    given = {name for names in named if names for name in names}
    decodes = any(callable(getattr(m, "prepare_decoder_input_ids_from_labels", None)) for m in model.modules())
    return decodes and bool(given) and not given & {"labels", "decoder_input_ids", "decoder_inputs_embeds"}


def _point_to_own_line(finding: Finding, exception: BaseException) -> Finding:
    """Say which line of the user's own raised, or called what raised."""
    own = find_own_line(exception)
    if own is None:
        return finding
    place, seen = f"{own.file}, line {own.line}", finding.evidence["message"]
    if own.raised_here:
        message = f"Your own code raised it: {own.place}. Seen: {seen}"
        return replace(finding, message=message, fix=f"{place}  # this line raised it, no library")
    message = f"{finding.message} The last line of your own code before it: {own.place}."
    return replace(finding, message=message, fix=f"{place}  # run this call again by itself, on one batch")


def _raised_in(exception: BaseException, file: str) -> bool:
    """Return whether a file of fastai's of that name raised."""
    path = Path(traceback.extract_tb(exception.__traceback__)[-1].filename)
    return path.parts[-2:] == ("fastai", file)


def build_finding(cause: str, message: str) -> Finding:
    """Build a finding of severity ``error`` for a failure of this cause, with the exception's message."""
    reason = REASONS.get(cause)
    if reason is None:  # our own errors name the fix themselves
        return Finding(cause, "error", message, {"message": message}, _extract_advice(message))
    line = _to_one_line(message)
    return Finding(
        cause,
        "error",
        f"{reason.meaning} Seen: {line}",
        {"message": line},
        "" if isinstance(reason.fix, Action) else reason.fix,
        reason.fix if isinstance(reason.fix, Action) else None,
    )


def _can_happen(cause: str, actions: Optional[Container[str]]) -> bool:
    """Return whether a fastai has the action that fixes this failure; without it, it cannot fail this way."""
    fix = REASONS[cause].fix
    return actions is None or not isinstance(fix, Action) or fix.name in actions


def _traceback_functions(exception: BaseException) -> List[str]:
    names: List[str] = []
    frame = exception.__traceback__
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    return names


def find_calling_callback(exception: BaseException) -> str:
    """Return class and function of the user's callback in which it arose, outside of fastai's loop; else ""."""
    found, frame = "", exception.__traceback__
    while frame is not None:
        code, owner = frame.tb_frame.f_code, frame.tb_frame.f_locals.get("self")
        if _is_users_callback(owner):
            function = "" if code.co_name == "__call__" else f".{code.co_name}"
            found = f"{type(owner).__name__}{function}"
        elif code.co_name in _LOOP_FUNCTIONS:
            found = ""
        frame = frame.tb_next
    return found


# Of both fastais: what comes back from the model in these is the loop's affair.
_LOOP_FUNCTIONS = ("_do_one_batch", "one_batch", "loss_batch", "_with_events")


def _is_users_callback(thing: object) -> bool:
    kinds = type(thing).__mro__
    own = kinds[0].__module__.split(".")[0] not in ("fastai", __name__.split(".")[0])
    return own and any(kind.__name__ == "Callback" and kind.__module__.startswith("fastai.") for kind in kinds)


def match_cause(message: str, actions: Optional[Container[str]] = None) -> str:
    """Find the cause whose pattern the exception's message has, among those of a fastai's `actions`."""
    sizes = re.search(r"Expected input batch_size \((\d+)\) to match target batch_size \((\d+)\)", message)
    if sizes:
        less, more = sorted(map(int, sizes.groups()))
        if less > 1 and more % less == 0:  # of a batch that was unwrapped once too often, one row is left
            return "label-per-text-or-word"
    known = ((pattern, cause) for pattern, cause in _PATTERNS if _can_happen(cause, actions))
    return next((cause for pattern, cause in known if re.search(pattern, message)), "unknown-failure")


def _extract_advice(message: str) -> str:
    """Return what our own error asks to write; where it advises in other words, its last sentence."""
    line = " ".join(message.split()).rstrip(".")
    written = re.search(r"\b[Ww]rite (.+)$", line)
    return written.group(1) if written else re.split(r"[.;] (?=[A-Za-z])", line)[-1]


def _to_one_line(message: str, limit: int = 300) -> str:
    line = " ".join(_ANSI_COLORS.sub("", message).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
