"""``Evidence``: what an examination measured, in plain numbers and names.

``diagnosis/probes/`` measure it and ``diagnosis/checks/`` judge it. A part that was not measured, or could not be,
is None, and the checks that need it find nothing.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from .fit_record import History
from .metric_evidence import MetricEvidence
from .numeric_inputs import NumericInputs
from .pairing import Pairing
from .probes import FAILED, MADE, NOT_MADE, ProbeOutcome
from .substitution import Substitution

__all__ = ["Evidence", "Wiring", "Graph", "Stepping", "HyperParams", "Outputs", "LossBehavior", "Inputs", "Labels"]
__all__ += ["Weights", "Precision"]


@dataclass
class Wiring:
    """How the model's output reaches the loss.

    Attributes
    ----------
    patch : str or None
        Where the code that replaces the loop comes from; None where the loop is fastai's own.
    hf_callback : bool
        Whether an ``HFCallback`` is among the learner's callbacks.
    train_error, valid_error : str or None
        The cause that :func:`explain` names for the exception of the training or the validation path.
    train_message, valid_message : str or None
        That exception's text.
    only_in_callback_fns : list of str
        Classes in ``callback_fns`` that change the output: ``validate`` and ``pred_batch`` do not use them.
    only_in_training : list of str
        Callbacks that change the output and do not run on validation batches (fastai 2's ``run_valid``).
    set_on_itself : dict of str to str
        Callbacks that set on themselves what fastai 2's loop reads from the learner: class -> attribute.
    loss_only_shown : list of str
        Callbacks that change fastai 2's ``learn.loss``, which is shown, and not the loss that is propagated.
    ends_training : list of str
        Callbacks that end a fit's first epoch before its first step, as fastai 2's cancel exceptions can.
    idle_callbacks : list of str
        Callbacks that ``diagnose`` does not run: they take no part in a batch, and may write files.
    trackers : list of (str, str, bool)
        Callbacks that wait for a better figure, which one, and whether more is better to them.
    bare_metrics : list of str
        Functions among fastai 2's metrics that were not wrapped as such: a fit ends at the first of them.
    """

    patch: Optional[str] = None
    hf_callback: bool = False
    train_error: Optional[str] = None
    valid_error: Optional[str] = None
    train_message: Optional[str] = None
    valid_message: Optional[str] = None
    only_in_callback_fns: List[str] = field(default_factory=list)
    only_in_training: List[str] = field(default_factory=list)
    set_on_itself: Dict[str, str] = field(default_factory=dict)
    loss_only_shown: List[str] = field(default_factory=list)
    ends_training: List[str] = field(default_factory=list)
    idle_callbacks: List[str] = field(default_factory=list)
    trackers: List[Tuple[str, str, bool]] = field(default_factory=list)
    bare_metrics: List[str] = field(default_factory=list)


@dataclass
class Graph:
    """What the loss's autograd graph reaches, in parameters.

    ``registered`` counts the model's parameters, ``trainable`` those that require a gradient,
    ``reached`` those that the loss passed to ``backward`` reaches, ``reached_by_output`` those the
    logits reach. ``hidden`` are reached and not among ``model.parameters()``; ``foreign`` are leaves
    that are not parameters. ``head_name`` is the last module that ran, and
    ``behind_checkpoints`` whether a graph appears once the word embeddings' outputs require a gradient, and ends at
    reentrant checkpoints.
    With ``opaque`` functions it cannot be concluded that nothing else is reached.
    """

    registered: int
    trainable: int
    reached: int
    reached_by_output: int
    hidden: int
    foreign: int
    opaque: int
    output_has_graph: bool
    loss_has_graph: bool
    head_trainable: Optional[bool] = None
    head_name: str = ""
    behind_checkpoints: bool = False
    head_unreached: Optional[bool] = None


@dataclass
class Stepping:
    """What training steps did, summed over the steps that were monitored.

    Parameters are counted; ``moved`` means more than weight decay and rounding explain. ``skipped_by`` names
    the callbacks that asked to skip. ``update`` is the gradient's part of a step relative to the weights
    (Frobenius norms over matrices; the median of the steps, and ``largest_update``),
    ``decay_over_gradient`` the decay's part over the gradient's. ``loss_factor`` is the loss that is
    propagated over the one the loss function gave, ``executed_elements`` the trainable elements of the
    modules that ran, ``executed_unreached`` those of them that the output does not reach, ``clip_ratio``
    a gradient's norm at the step over the one that backward gave it (the highest of the steps, and
    ``least_clip_ratio``), ``gradient_turned`` whether it pointed elsewhere, too, ``gradient_share`` the share of the
    parameters reached whose gradient is not all zero, ``changed_between_steps`` how often weights were
    not at a batch's begin what they had been at the end of the one before. ``epsilon`` is Adam's, and
    ``epsilon_damping`` what it leaves of a step: the gradient's size over itself plus epsilon, the median over
    matrices (of each the root mean square of the elements that are not zero) and over the later half of the steps.
    """

    steps: int
    sampled_steps: Optional[int] = None
    skipped_steps: int = 0
    skipped_backwards: int = 0
    skipped_zero_grads: int = 0
    skipped_by: List[str] = field(default_factory=list)
    steps_in_an_epoch: Optional[int] = None
    steps_simulated: Optional[int] = None
    trainable: int = 0
    with_gradient: int = 0
    in_optimizer: int = 0
    in_layer_groups: int = 0
    in_optimizer_only: int = 0
    moved: int = 0
    update: Optional[float] = None
    largest_update: Optional[float] = None
    decay_over_gradient: Optional[float] = None
    lost_in_rounding: Optional[float] = None
    gradient_norms: List[float] = field(default_factory=list)
    non_finite_losses: int = 0
    not_in_optimizer_names: List[str] = field(default_factory=list)
    loss_factor: Optional[float] = None
    clip_ratio: Optional[float] = None
    least_clip_ratio: Optional[float] = None
    gradient_turned: bool = False
    gradient_share: Optional[float] = None
    changed_between_steps: int = 0
    lr_in_force: Optional[float] = None
    epsilon: Optional[float] = None
    epsilon_damping: Optional[float] = None
    executed_elements: int = 0
    executed_unreached: int = 0
    executed_unreached_names: List[str] = field(default_factory=list)


@dataclass
class HyperParams:
    """Learning rates and weight decay in force: the highest at any step, and where the figure comes from.

    ``near_zero_lr_share`` is the share of the steps at less than a ten-thousandth of the highest, ``total_lr`` the sum
    of the rates of all steps. ``scales_with_gradient`` says of the optimizer in force whether its steps grow with the
    gradient, as plain SGD's do and Adam's do not, ``momentum_gain`` by what its momentum multiplies them in the end;
    both were tried on a parameter of their own. ``lowest_group_share`` is the lowest group's rate over the highest's.
    ``rises_to_the_end``: no step of the fit had a lower rate than the one before, and the last ones still rose.
    """

    lr: Optional[float]
    wd: float
    source: str
    near_zero_lr_share: float = 0.0
    total_lr: float = 0.0
    scales_with_gradient: Optional[bool] = None
    momentum_gain: float = 1.0
    lowest_group_share: float = 1.0
    rises_to_the_end: bool = False


@dataclass
class Outputs:
    """The logits of a few batches, and how they respond to changes of the input.

    Differences are relative to the outputs' spread over rows, or to their size where that is larger. ``class_axis`` is
    1 of pictures with a class for every pixel, else -1.
    ``spread_of_new_weights`` is that over rows, relative to the outputs' size, with weights drawn anew; measured only
    where these give all rows one output, or do not answer to words. ``before_fit``: before the fit that was recorded.
    """

    shape: Tuple[int, ...]
    target_shape: Tuple[int, ...]
    rows: int
    finite: bool
    lowest: float
    highest: float
    spread: float
    size: float
    bounded: bool = False
    rows_sum_to_one: bool = False
    rows_are_log_probabilities: bool = False
    changes_with_tokens: Optional[float] = None
    changes_with_batch_mates: Optional[float] = None
    changes_with_padding: Optional[float] = None
    hidden_size: Optional[int] = None
    num_labels: Optional[int] = None
    broadcasts: Optional[bool] = None
    class_axis: int = -1
    spread_of_new_weights: Optional[float] = None
    before_fit: bool = False

    @property
    def uniform(self) -> bool:
        """Whether all rows have one output, up to rounding: a first head of usual width spreads them by hundredths."""
        return self.finite and self.rows > 1 and 0 <= self.spread < 1e-4 * self.size


@dataclass
class LossBehavior:
    """The loss function, evaluated on synthetic outputs.

    ``at_ideal`` is its value where the outputs agree with the targets, ``at_worst`` where they contradict them,
    ``constant`` that of the best output without any input, ``constant_all_targets`` the same for all targets
    available and not for those of a few rows, ``first`` that of the model in eval mode. ``takes_logits``: outputs far
    beyond 0 and 1 cost less than 0 and 1 do. ``falls_with_shift``: a number added to all outputs of a row is
    subtracted from the loss, as a loss of log-probabilities does. ``shift_invariant``: that changes nothing;
    ``shift_invariant_by_place``: nor does another number at every pixel.
    ``returns_output``: a single number comes back as it is, the loss that the model computed itself.
    ``ignored_targets`` names the targets whose wrong predictions leave the loss what it is for right ones.
    ``target_costs`` has of each target its share and what a wrong prediction of it costs.
    ``before_fitting`` and ``after_fitting``: its values before and after steps of a new optimizer on one batch.
    ``growth_with_rows``: the same of the rows taken twice over that of them once: 2 of a sum.
    """

    first: Optional[float] = None
    constant: Optional[float] = None
    constant_all_targets: Optional[float] = None
    at_ideal: Optional[float] = None
    at_worst: Optional[float] = None
    takes_logits: Optional[bool] = None
    shift_invariant: Optional[bool] = None
    shift_invariant_by_place: Optional[bool] = None
    falls_with_shift: Optional[bool] = None
    depends_on_order: Optional[bool] = None
    returns_output: Optional[bool] = None
    depends_on_targets: Optional[bool] = None
    ignored_targets: List[str] = field(default_factory=list)
    target_costs: List[Tuple[str, float, float]] = field(default_factory=list)
    before_fitting: Optional[float] = None
    after_fitting: Optional[float] = None
    fitting_steps: int = 0
    growth_with_rows: Optional[float] = None


@dataclass
class Inputs:
    """The token ids that the model's word embedding was given, and the padding and masks that came with them.

    ``unknown_share`` is that of the tokenizer's unknown token among the words, where the tokenizer is known.
    ``untrained_ids`` are ids whose row of a frozen embedding is the mean of all rows, as added tokens begin.
    """

    rows: int
    length: int
    distinct_ids: int
    batch_has_other_ids: bool = False
    pad_token_id: Optional[int] = None
    pad_share: float = 0.0
    pad_side: Optional[str] = None
    embedding_pad_id: Optional[int] = None
    config_pad_id: Optional[int] = None
    first_token: Optional[int] = None
    first_token_in_front: float = 1.0
    same_last_token: bool = False
    mask_given: bool = False
    mask_marks_padding: Optional[float] = None
    mask_arrives_as: List[str] = field(default_factory=list)
    mask_argument_given: Optional[bool] = None
    takes_mask: bool = True
    mask_hides_everything: bool = False
    distinct_rows: int = 0
    top_token: Optional[int] = None
    top_token_share: float = 0.0
    second_position_share: float = 0.0
    second_position_token: Optional[int] = None
    words: int = 0
    distinct_words: int = 0
    unknown_share: Optional[float] = None
    foreign_tokens: List[str] = field(default_factory=list)
    truncated_share: float = 0.0
    mean_length: float = 0.0
    untrained_ids: List[int] = field(default_factory=list)
    untrained_share: float = 0.0


@dataclass
class Labels:
    """The targets of rows sampled evenly from both sets; shares by class where there are classes.

    ``predictors`` names what the labels were predicted from: words, or inputs that are numbers.
    ``worst_column`` is, of the classes or label columns, the one that the words of the training rows predict worst
    on the validation rows: its area under the ROC curve there, and by how many standard errors that differs from
    chance. Of the rows ``drawn`` for the first batches and of those sampled so many are ``distinct``; ``rows_mixed``
    get another row's target when several are collated. ``shift``: standard deviations between both sets' numbers.
    """

    kind: str
    train_rows: int
    valid_rows: int
    train_constant: bool = False
    drawn: int = 0
    distinct_drawn: int = 0
    distinct_sampled: int = 0
    rows_mixed: int = 0
    shift: Optional[float] = None
    valid_constant: bool = False
    train_shares: List[float] = field(default_factory=list)
    order_z: Optional[float] = None
    signal_within_train: Optional[float] = None
    signal_within_valid: Optional[float] = None
    signal_together: Optional[float] = None
    signal_train_to_valid: Optional[float] = None
    predictors: str = "words"
    worst_column: Optional[int] = None
    worst_column_auc: float = 0.5
    worst_column_z: float = 0.0
    error_within_train: float = 1.0
    error_within_valid: float = 1.0
    error_together: float = 1.0


@dataclass
class Weights:
    """The parameters themselves, and ``dropout``, the largest share that a layer between them sets to 0 in training.

    ``half`` counts the trainable ones that are in half precision when they are stepped, ``half_dtypes`` names their
    dtypes. ``body_at_init``: every layer norm is at its initial value, was so when the first fit began, or is no
    further from it (``norm_shift``) than the steps since can have moved it. ``distance`` is how far the trained
    matrices are from where that fit found them, relative to their size then, ``starting_size`` (of both the median);
    None where nobody has kept that. ``non_finite_state`` names the optimizer's averages with NaN or infinity,
    ``zero_matrices`` modules whose weight in use is all zero, ``stale_statistics`` those whose running statistics saw
    batches and never moved, ``embedding_alone_frozen`` the largest table where it is frozen and no other matrix is.
    """

    parameters: int
    non_finite: int = 0
    non_finite_names: List[str] = field(default_factory=list)
    half: int = 0
    half_dtypes: List[str] = field(default_factory=list)
    has_master_copies: bool = False
    body_at_init: Optional[bool] = None
    body_trainable: Optional[bool] = None
    pretrained_name: Optional[str] = None
    gain: Optional[float] = None
    dropout: float = 0.0
    elements: int = 0
    has_adapters: bool = False
    frozen_in_vain: int = 0
    norm_shift: Optional[float] = None
    distance: Optional[float] = None
    starting_size: Optional[float] = None
    non_finite_state: int = 0
    zero_matrices: List[str] = field(default_factory=list)
    stale_statistics: List[str] = field(default_factory=list)
    embedding_alone_frozen: Optional[str] = None


@dataclass
class Precision:
    """Mixed precision: the loss scale, now and at the first step that was monitored, and the steps that overflowed."""

    loss_scale: float
    steps: int
    overflows: int
    first_scale: Optional[float] = None


@dataclass
class Evidence:
    """Everything that was measured; see the parts.

    ``ids_index`` is the index of the token ids among a batch's tensors, ``probes`` what became of each probe, by name,
    ``substitution`` the result of ``diagnose(learn, deep=True)``. ``seconds`` is what the examination took,
    ``trial_seconds`` what the trials of fixes took on top of it. ``watched`` are the causes that ``Doctor`` named in
    the last fit, warnings and errors; None where it did not watch, or the weights are others since.
    """

    wiring: Optional[Wiring] = None
    graph: Optional[Graph] = None
    stepping: Optional[Stepping] = None
    hyper: Optional[HyperParams] = None
    outputs: Optional[Outputs] = None
    loss: Optional[LossBehavior] = None
    inputs: Optional[Inputs] = None
    numeric_inputs: List[NumericInputs] = field(default_factory=list)
    labels: Optional[Labels] = None
    pairing: Optional[Pairing] = None
    weights: Optional[Weights] = None
    metrics: List[MetricEvidence] = field(default_factory=list)
    precision: Optional[Precision] = None
    history: Optional[History] = None
    ids_index: Optional[int] = None
    substitution: Optional[Substitution] = None
    probes: Dict[str, ProbeOutcome] = field(default_factory=dict)
    watched: Optional[List[str]] = None
    seconds: float = 0.0
    trial_seconds: float = 0.0

    @property
    def examined(self) -> List[str]:
        """The probes that were made, without those that are a part of another."""
        return [probe.name for probe in self.probes.values() if probe.state == MADE and not probe.part_of]

    @property
    def skipped(self) -> List[str]:
        """The probes that failed or could not be made, with the reason."""
        return [str(probe) for probe in self.probes.values() if probe.state in (FAILED, NOT_MADE) and probe.was_reached]

    @property
    def constant_loss(self) -> Optional[float]:
        """The loss of a predictor without any input, on all targets where these are known; None unless positive."""
        known = [] if self.loss is None else [self.loss.constant_all_targets, self.loss.constant]
        return next((constant for constant in known if constant is not None and constant > 0), None)

    @property
    def fit_has_ended(self) -> bool:
        """Whether the fit in ``history`` is over: nobody knows yet what the steps to come do to one that runs."""
        last_fit = self.probes.get("the last fit")
        return last_fit is None or last_fit.state != NOT_MADE

    def to_dict(self) -> Dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)
