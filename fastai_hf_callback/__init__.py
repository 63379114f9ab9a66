"""Train any Hugging Face model under an unmodified fastai ``Learner``, and prove that nothing changed.

Public names are resolved when they are first used, so importing the package needs only torch and changes nothing.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, List

__version__ = "0.1.0"

_CORE = {
    "unwrap": "model.output",
    "HFModel": "model.wrapper",
    "accuracy_thresh": "model.metrics",
    "span_logits": "model.question_answering",
    "span_exact_match": "model.question_answering",
    "span_f1": "model.question_answering",
    "SpanLoss": "model.losses",
    "NextTokenLoss": "model.losses",
    "FastaiHFError": "errors",
    "OutputError": "errors",
    "InputError": "errors",
    "GradientError": "errors",
    "PatchError": "errors",
    "ComparisonError": "errors",
    "InvalidInputError": "errors",
    "ExportError": "errors",
    "Comparison": "comparison.comparison",
    "Trace": "results.trace",
    "trusted": "compat.trusted_loading",
    "Diagnosis": "diagnosis.diagnosis",
    "Finding": "results.finding",
}
_PER_FASTAI = {
    "HFCallback": "callback",
    "patched_loop": "comparison.patched_loop",
    "compare": "comparison.compare",
    "text_data": "data.text_data",
    "ordered_preds": "data.ordered_preds",
    "diagnose": "diagnosis.diagnose",
    "Doctor": "diagnosis.doctor",
    "explain": "diagnosis.explain",
    "ColumnwiseAUC": "metrics",
    "ConstantBaseline": "metrics",
    "WordAccuracy": "metrics",
    "layer_groups": "layer_groups",
    "export_learner": "export",
    "heal": "compat.heal",
}
# Modules that only one of the two has: they share a name, and a version number does not prove what is installed.
_FASTAI_MARKERS = {"fastai.basic_train": "fastai1", "fastai.learner": "fastai2"}

__all__ = [*_CORE, *_PER_FASTAI]


def __getattr__(name: str) -> Any:
    if name in _CORE:
        return getattr(import_module(f".{_CORE[name]}", __name__), name)
    if name in _PER_FASTAI:
        return getattr(import_module(_module_of(name), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])


def _module_of(name: str) -> str:
    """Return the module that holds the name for the fastai that is installed."""
    subpackage = _detect_fastai()
    module = f".{subpackage}.{_PER_FASTAI[name]}"
    folder = Path(__file__).parent / subpackage
    if not (folder / (_PER_FASTAI[name].replace(".", "/") + ".py")).is_file():
        raise ImportError(f"{name} is not there for fastai {subpackage[-1]} yet: leave it out.")
    return module


def _detect_fastai() -> str:
    """Detect which fastai is installed by the modules it has (all share one name)."""
    if find_spec("fastai") is not None:
        for module, subpackage in _FASTAI_MARKERS.items():
            if find_spec(module) is not None:
                return subpackage
    raise ImportError(
        "No fastai is installed here. Install one with: pip install 'fastai-hf-callback[fastai1]' or: "
        "pip install 'fastai-hf-callback[fastai2]'"
    )
