# What type checkers read in place of __init__.py, whose names are resolved when first used. Signatures are the same on
# both fastais but for what README's table of differences says; shown are fastai 2's.
from .comparison.comparison import Comparison as Comparison
from .compat.trusted_loading import trusted as trusted
from .diagnosis.diagnosis import Diagnosis as Diagnosis
from .errors import ComparisonError as ComparisonError
from .errors import ExportError as ExportError
from .errors import FastaiHFError as FastaiHFError
from .errors import GradientError as GradientError
from .errors import InputError as InputError
from .errors import InvalidInputError as InvalidInputError
from .errors import OutputError as OutputError
from .errors import PatchError as PatchError
from .fastai2.callback import HFCallback as HFCallback
from .fastai2.comparison.compare import compare as compare
from .fastai2.comparison.patched_loop import patched_loop as patched_loop
from .fastai2.compat.heal import heal as heal
from .fastai2.data.ordered_preds import ordered_preds as ordered_preds
from .fastai2.data.text_data import text_data as text_data
from .fastai2.diagnosis.diagnose import diagnose as diagnose
from .fastai2.diagnosis.doctor import Doctor as Doctor
from .fastai2.diagnosis.explain import explain as explain
from .fastai2.export import export_learner as export_learner
from .fastai2.layer_groups import layer_groups as layer_groups
from .fastai2.metrics import ColumnwiseAUC as ColumnwiseAUC
from .fastai2.metrics import ConstantBaseline as ConstantBaseline
from .fastai2.metrics import WordAccuracy as WordAccuracy
from .model.losses import NextTokenLoss as NextTokenLoss
from .model.losses import SpanLoss as SpanLoss
from .model.metrics import accuracy_thresh as accuracy_thresh
from .model.output import unwrap as unwrap
from .model.question_answering import span_exact_match as span_exact_match
from .model.question_answering import span_f1 as span_f1
from .model.question_answering import span_logits as span_logits
from .model.wrapper import HFModel as HFModel
from .results.finding import Finding as Finding
from .results.trace import Trace as Trace

__version__: str
__all__: list[str]
