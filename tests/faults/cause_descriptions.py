"""Each cause in two sentences: what its user sees, and the quantity that gives it away. The rest of
docs/evidence/faults.md is what the doctor itself said of a seeded case."""

from typing import Dict, Tuple

CAUSES: Dict[str, Tuple[str, str]] = {
    "patch-left-active": (
        "Another Learner's results change after an article's cell was run.",
        "the code object in the place of fastai's `loss_batch`",
    ),
    "unwrapping-in-callback-fns": (
        "`fit` works; `validate`, `get_preds` or `pred_batch` raise.",
        "one batch sent the way `validate` sends it, beside one sent the way `fit` does",
    ),
    "unwrapping-in-training-only": (
        "fastai 2: losses fall in training; the first validation batch, `validate` or `get_preds` raise.",
        "callbacks with `run_valid=False` that have an `after_pred`, and one batch sent the way `validate` sends it",
    ),
    "set-on-callback": (
        "fastai 2: a callback changes `self.pred`, and nothing changes.",
        "what a copy of each callback holds after each of its events, beside what the learner holds",
    ),
    "loss-only-shown": (
        "fastai 2: the loss that is shown changes with a callback's weight or penalty, the "
        "weights learn as without it.",
        "`learn.loss` and `learn.loss_grad` before and after each callback's `after_loss`",
    ),
    "output-not-unwrapped": (
        "A tuple or `ModelOutput` reaches the loss: TypeError or AttributeError.",
        "the exception, and what reached the loss",
    ),
    "callback-class-not-instance": (
        "`on_train_begin() missing 1 required positional argument: 'self'`.",
        "what stands in `learn.callbacks`",
    ),
    "callback-instance-in-callback-fns": (
        "`object is not callable` when the fit begins.",
        "calling `callback_fns` with the learner, as fastai does",
    ),
    "wrong-key-returned": ("`isn't a valid key in the state of the callbacks`.", "the exception"),
    "non-finite-weights": (
        "Losses and metrics are NaN, or the metric stands at one class, from the first step.",
        "every parameter, once",
    ),
    "weights-diverged": (
        "A new Learner with a good rate does not learn; the loss stays at the base rate's.",
        "how strongly matrices amplify, logits' spread over rows, the first loss beside that of a constant predictor",
    ),
    "non-finite-optimizer-state": (
        "All is well until the next step, and then everything is NaN.",
        "NaN or infinity in the averages that the optimizer keeps",
    ),
    "pretrained-weights-not-loaded": (
        "Learning is slow and ends far below published figures.",
        "layer norms at their initial values, in a model that names its origin or is too "
        "large to begin at nothing; a note otherwise",
    ),
    "everything-frozen": ("Nothing moves, or `does not require grad`.", "parameters that require a gradient: none"),
    "no-gradient-in-model": (
        "Only the head learns, or nothing; weight decay still moves weights.",
        "which weights ran in forward, and which of them the output's graph reaches",
    ),
    "loss-detached": (
        "The loss is printed and falls for no run.",
        "the graph of the loss handed to backward, beside the output's",
    ),
    "output-detached": (
        "The article's author's own symptom: training runs through, metrics do not move.",
        "leaves at the end of the output's graph that are no parameters",
    ),
    "backward-skipped": ("As if the optimizer were missing.", "`skip_bwd` after all callbacks, in every step"),
    "accumulation-never-steps": (
        "Weights stay bit for bit the same.",
        "an epoch of events for the callbacks that skip: no step in it",
    ),
    "step-skipped": ("Weights stay bit for bit the same.", "`skip_step` after all callbacks, in a whole epoch"),
    "gradients-never-zeroed": ("Losses swing, then grow.", "`skip_zero` in every step that is made"),
    "parameters-hidden": (
        "Some layers never change and are missing in checkpoints.",
        "parameters that the graph reaches and `model.parameters()` does not list",
    ),
    "half-weights-without-master": (
        "Training stands or ends in NaN after another Learner used `to_fp16`.",
        "float16 parameters that the optimizer steps itself, and the share of their "
        "elements that a step leaves as they were",
    ),
    "loss-scale-overflows": ("Losses stay exactly equal, step after step.", "non-finite gradients in every step"),
    "loss-scale-collapsed": ("Half precision learns next to nothing.", "the loss scale"),
    "optimizer-holds-another-model": (
        "The model handed out never changes.",
        "parameters in the optimizer that are not the model's, and the reverse",
    ),
    "split-leaves-modules-out": ("Some layers never change.", "trainable parameters outside of the layer groups"),
    "parameters-not-in-optimizer": (
        "Unfrozen by hand, and still as if frozen.",
        "trainable parameters in the layer groups and not in the optimizer",
    ),
    "untrained-body-frozen": (
        "The head learns a little and stops.",
        "layer norms at their initial values in a body that is frozen",
    ),
    "freeze-without-groups": (
        "After freeze() everything is trained, at a head's rate.",
        "an optimizer with one parameter group, frozen by groups and not stepped since",
    ),
    "learning-rate-zero": ("Nothing moves.", "the rate in force at the step"),
    "learning-rate-too-high": ("The loss jumps up and stays.", "the step's size relative to the weights"),
    "learning-rate-too-small": ("Losses fall in the fifth digit.", "the step's size relative to the weights"),
    "weight-decay-dominates": (
        "Losses move to the base rate's and stay.",
        "the decay's part of a step beside the gradient's",
    ),
    "loss-summed-over-rows": (
        "The loss jumps up and stays, at a rate that suits others.",
        "the loss of the same rows twice beside that of them once, where the optimizer's steps grow with the gradient",
    ),
    "warm-up-never-ends": (
        "Losses fall in the fifth digit.",
        "the rates of the fit's steps, and its losses beside a constant predictor's",
    ),
    "embeddings-frozen": (
        "The loss stays near the base rate's.",
        "the largest embedding frozen, no other matrix, and losses beside a constant predictor's",
    ),
    "weights-all-zero": (
        "The loss stays at the base rate's.",
        "layers whose weight, after masks and parametrizations, is nothing but zeros, where nothing passes them",
    ),
    "statistics-never-updated": (
        "The training loss falls, the validation loss stays far above it.",
        "running statistics that have seen batches and are a new layer's to the last bit",
    ),
    "gradients-replaced": (
        "The loss wanders, whatever the rate.",
        "a gradient at the step beside the one backward gave: many times as large, and pointing elsewhere",
    ),
    "clipped-to-nothing": (
        "Losses fall in the fifth digit.",
        "a gradient's norm at the step beside the one backward gave it",
    ),
    "epsilon-outweighs-gradients": (
        "The loss goes to the base rate's and stays; a smaller model learns nothing.",
        "the gradients' size beside the optimizer's epsilon, as long as the loss is a constant predictor's",
    ),
    "nothing-learned-yet": (
        "Loss and metric stand at a constant predictor's after the fit.",
        "the last losses beside what a constant predictor pays",
    ),
    "head-frozen": ("Slow or no learning.", "whether the module that ran last requires gradients"),
    "weights-do-not-move": (
        "Nothing moves, for a reason not named here.",
        "weights before and after steps, less what decay and rounding explain",
    ),
    "non-finite-outputs": ("NaN in predictions.", "the outputs in eval mode"),
    "non-finite-loss": ("The loss turns NaN.", "the loss of every step"),
    "batch-dimension-lost": (
        "The loss is a number and the metric is nonsense.",
        "the output's rows beside the targets'",
    ),
    "output-is-the-loss": ("The loss falls and the metric stands.", "an output of no dimension"),
    "loss-broadcasts": (
        "The loss falls to the variance of the targets and stays.",
        "whether the loss notices that rows of stand-in outputs changed places",
    ),
    "hidden-state-as-logits": (
        "It learns, badly.",
        "the output's width beside the hidden size; a last layer with no part in the output",
    ),
    "head-of-no-use": ("It learns, badly.", "a last layer with no part in the output"),
    "loss-sign-flipped": (
        "The metric moves the wrong way.",
        "the loss of right and of contrary stand-in outputs; the propagated loss over the given one",
    ),
    "loss-ignores-a-target": (
        "The loss falls, and the metric goes to one class's share.",
        "the loss of stand-in outputs, right but for one class or label: what each costs",
    ),
    "softmax-before-cross-entropy": (
        "The loss falls to about .55 (two classes) and no further.",
        "outputs between 0 and 1 whatever the weights, rows that sum to 1, a loss that expects logits",
    ),
    "sigmoid-before-logits-loss": (
        "The loss never falls below .69 or so.",
        "outputs between 0 and 1 whatever the weights, under a loss that expects logits",
    ),
    "no-log-softmax-before-nll": (
        "The loss falls below zero, without end.",
        "a number added to all stand-in outputs of a row is taken off the loss; outputs "
        "whose exponentials do not sum to 1",
    ),
    "input-ignored": ("The metric is the base rate's.", "outputs before and after exchanging the words of a batch"),
    "cannot-fit-one-batch": ("The training loss stands.", "a fresh optimizer on one batch"),
    "inputs-in-wrong-arguments": (
        "It learns, badly.",
        "what the word embedding is given, and under which name the mask arrives",
    ),
    "unknown-tokens": ("The metric is the base rate's.", "the share of the most frequent id among the words"),
    "attention-mask-wrong": (
        "Predictions change with the batch, or are NaN.",
        "where mask and padding disagree, and a row's logits with its padding taken away",
    ),
    "attention-mask-missing": ("Predictions change with the batch.", "a row's logits with its padding taken away"),
    "padding-in-front": (
        "The article's own recipe: the head reads padding at position 0.",
        "the side of the padding, the rows that begin with the first token, and a row's logits with "
        "its padding taken away",
    ),
    "wrong-padding-id": ("Predictions change with the batch.", "the id that fills rows up beside the embedding's own"),
    "foreign-special-tokens": (
        "It learns, a little worse.",
        "one id behind the first token of all rows; fastai's `xx...` in the vocabulary",
    ),
    "labels-constant": ("The metric is perfect at once.", "targets sampled over the whole set"),
    "texts-truncated": (
        "Training memorises, validation stands.",
        "texts cut at one length of which no word predicts a label",
    ),
    "labels-unrelated-to-texts": (
        "Training memorises, validation stands.",
        "how well words predict labels, held out, within each set",
    ),
    "labels-in-order": ("The loss jumps between two values.", "changes of class from row to row in the first batches"),
    "validation-one-class": ("The metric is 0 or 1.", "validation targets, beside the training shares"),
    "validation-worse-than-constant": (
        "Training goes well, the validation loss rises.",
        "the last validation loss beside a constant predictor's",
    ),
    "dropout-too-high": ("Nothing is learned.", "the largest p among the dropout layers"),
    "metric-ignores-predictions": ("The metric never changes.", "the metric of right, contrary and random outputs"),
    "metric-of-another-epoch": (
        "The metric changes less and less, or never.",
        "the metric of the same outputs in a first and in a later epoch",
    ),
    "metric-not-wrapped": (
        "The fit ends at its first validation.",
        "bare functions among fastai 2's metrics, which `append` does not wrap; or the exception's text",
    ),
    "metric-fails": ("The fit ends at its first validation.", "what the metric raises, of real and of drawn targets"),
    "metric-wrong-axis": (
        "The metric hovers at chance.",
        "whether right outputs score best, and the same in halves of the rows",
    ),
    "weights-changed-between-steps": (
        "Losses stand although every step moves weights.",
        "weights at a batch's begin beside those at the end of the one before",
    ),
    "gradient-vanishes": (
        "Only the last layer's bias learns.",
        "the share of the parameters reached that get a gradient",
    ),
    "loss-ignores-targets": (
        "The loss falls and the metric stands.",
        "the loss of the same outputs when targets change places, and when they change",
    ),
    "depends-on-batch-mates": ("Validation changes with the batch size.", "a row's logits in its batch and alone"),
    "texts-all-alike": ("The metric is the base rate's.", "distinct texts among those looked at"),
    "inputs-not-finite": (
        "NaN from the first batch on, or only when some row comes up.",
        "values of the inputs that are NaN or infinite",
    ),
    "inputs-all-alike": (
        "The metric is the base rate's: the images are black, the recordings silent.",
        "distinct rows among those looked at",
    ),
    "inputs-of-one-value": (
        "The metric hardly moves.",
        "images and recordings that hold one value alone",
    ),
    "channels-misread": (
        "It learns, and much less than it could.",
        "what the first layer is given beside the same images with the axis of the channels moved",
    ),
    "inputs-ignored": (
        "The metric is the base rate's.",
        "the output when rows exchange their numbers",
    ),
    "inputs-not-scaled": (
        "It learns slowly, or not at all.",
        "range and spread of the values that the first layer is given, and the image processor's mean and deviation",
    ),
    "loss-misreads-classes": (
        "The loss stays near its first value, or all pixels become background.",
        "the loss when a number is added to all classes of each pixel",
    ),
    "train-and-valid-disagree": (
        "Training goes well, validation stays at chance.",
        "how well words of the training rows predict labels of the validation rows",
    ),
    "metric-arguments-swapped": (
        "A regression metric is far below what the loss says.",
        "the metric of right outputs at ten times their distance from their mean, and at a tenth",
    ),
    "better-taken-for-worse": (
        "The fit ends early, the rate falls as training goes well, or the worst weights are loaded at its end.",
        "what fastai's trackers compare with, beside the metric of right and of contrary outputs",
    ),
    "loss-weighs-the-frequent": (
        "The rare class is never predicted.",
        "what a wrong prediction of each class or label costs, beside its share",
    ),
    "rows-mixed-in-collate": (
        "Nothing is learned of sound data.",
        "the targets of the first rows, collated together and each alone",
    ),
    "few-rows-drawn": (
        "Training memorises, validation stands.",
        "distinct texts among the first that the loader drew, beside those in the set",
    ),
    "targets-of-another-scale": (
        "The validation loss is a thousand times the training loss.",
        "the distance of the two sets' means, in standard deviations",
    ),
    "no-training-batches": ("The fit runs through in no time and nothing moves.", "batches of the training loader"),
    "metric-at-base-rate": ("The loss falls and the metric stands.", "the metric beside a constant predictor's"),
    "callback-raises": (
        "A fit ends where it begins, or at the end of an epoch, in a callback of one's own.",
        "a short epoch of copies, without what writes files or connects to a server",
    ),
    "class-instead-of-instance": (
        "`BertForSequenceClassification` without `from_pretrained(...)`: an error about a missing `self`.",
        "the exception",
    ),
    "batch-not-split": (
        "fastai cannot tell a batch's inputs from its targets: a dict or a lone tensor comes from the loader.",
        "what the loader gives, before the learner splits it",
    ),
    "no-validation-loader": (
        "fastai 2: the fit ends where the first validation should begin.",
        "the number of loaders",
    ),
    "registration": (
        "`HFCallback` in `callback_fns` or in a single fit: `validate`, `lr_find` or `get_preds` raise.",
        "where the callback is registered, as its own error says it",
    ),
    "inputs-missing": (
        "The model's `forward` asks for an input that no batch brings.",
        "the names of the inputs beside those that `forward` requires",
    ),
    "inputs-unknown": (
        "A misspelt input: refused, where `**kwargs` would swallow it.",
        "the names of the inputs beside those that `forward` takes",
    ),
    "inputs-unnamed": (
        "Batches of several tensors, and nothing says which is which.",
        "tensors in a batch beside the names given",
    ),
    "inputs-count": (
        "More or fewer tensors in a batch than names, or one given twice.",
        "tensors in a batch beside the names given",
    ),
    "wrong-inputs": (
        "`forward() got an unexpected keyword argument`, or asks for one more.",
        "the exception",
    ),
    "not-a-tensor": (
        "Lists or numpy arrays reach the model.",
        "the type of `input_ids`",
    ),
    "ambiguous-output": (
        "Several tensors in the output could be the logits.",
        "the shapes of all tensors in the output",
    ),
    "no-tensor-in-output": (
        "The output holds nothing that a loss can take.",
        "the types in the output",
    ),
    "only-a-loss": (
        "The output holds a loss and no logits: the batch brought labels to a model without a head to show.",
        "the shapes of all tensors in the output",
    ),
    "loss-not-a-tensor": (
        "`loss_func` returns a dict, a tuple or a number: `backward` raises, of what does not say where it is from.",
        "the type of what the loss returns",
    ),
    "bad-element": (
        "`HFCallback(element=...)` names what the output has not.",
        "the output's fields beside the element asked for",
    ),
    "vocabulary-too-large": (
        "`index out of range`, or an assertion on a GPU, in some batch of an epoch.",
        "the tokenizer's vocabulary beside the rows of the word embedding, before the first batch",
    ),
    "too-many-positions": (
        "`index out of range` at the longest text.",
        "the longest text beside the rows of the position embedding, before the first batch",
    ),
    "wrong-number-of-outputs": (
        "A loss that compares the wrong shapes, or a class that is never predicted.",
        "the head's outputs beside the classes or labels of the data",
    ),
    "padding-ids-disagree": (
        "Predictions change with the batch, or a decoder's head reads the wrong token.",
        "the tokenizer's padding id beside the config's",
    ),
    "padded-in-front": (
        "Predictions change with the batch: positions are counted from the padding.",
        "the side of the padding, and whether the model takes positions",
    ),
    "special-tokens-in-texts": (
        "A text with `</s>` in it ends a T5's fit, depending on its batch mates.",
        "rows in which a special token's text stands, before the first batch",
    ),
    "class-names-disagree": (
        "Saved folders answer in the names of other classes.",
        "the checkpoint's names beside those of the data, and their order",
    ),
    "mixup-of-token-ids": (
        "Mixup averages token ids: no word is left as it was.",
        "the dtype of a batch's inputs, where a mixup callback is among them",
    ),
    "token-outside-vocabulary": (
        "`index out of range in self`, on a GPU an assertion after which nothing runs.",
        "the exception",
    ),
    "text-longer-than-positions": (
        "`index out of range in self` at the first long text.",
        "the exception, beside the lengths of the batch",
    ),
    "label-outside-range": (
        "`Target 3 is out of bounds`.",
        "the exception",
    ),
    "label-per-text-or-word": (
        "`Expected input batch_size (64) to match target batch_size (8)`.",
        "the exception: one size divides the other",
    ),
    "target-dtype": (
        "`expected scalar type Long but found Float`, or the reverse.",
        "the exception",
    ),
    "target-shape": (
        "`Target size must be the same as input size`.",
        "the exception",
    ),
    "rows-of-different-length": (
        "`stack expects each tensor to be equal size`.",
        "the exception",
    ),
    "device-mismatch": (
        "`Expected all tensors to be on the same device`.",
        "the exception",
    ),
    "dtype-mismatch": (
        "`expected m1 and m2 to have the same dtype`, `not implemented for 'Half'`.",
        "the exception",
    ),
    "out-of-memory": (
        "`out of memory`.",
        "the exception",
    ),
    "ragged-numpy": (
        "`inhomogeneous shape`, from fastai 1 on a numpy of today.",
        "the exception",
    ),
    "weights-only-load": (
        "`Weights only load failed`, from `load`, `load_learner` or a checkpoint's callback.",
        "the exception",
    ),
    "torchvision-and-torch-differ": (
        "`operator torchvision::nms does not exist`, from an import of transformers.",
        "the exception",
    ),
    "patch-active": (
        "fastai's loop is patched twice.",
        "the code object in the place of fastai's loop",
    ),
    "padding-id-missing": (
        "A decoder's classification head refuses batches.",
        "the text of transformers' exception",
    ),
    "checkpoint-of-another-head": (
        "`from_pretrained` refuses a folder whose head has another number of classes.",
        "the text of transformers' exception",
    ),
    "saved-from-another-model": (
        "`load` refuses a file of another model.",
        "the text of torch's exception",
    ),
    "image-size": (
        "The first batch of images is refused.",
        "the text of transformers' exception",
    ),
    "attentions-not-given": (
        "Asking for attentions is refused.",
        "the text of transformers' exception",
    ),
    "metric-of-two-classes": (
        "The first validation ends in scikit-learn's exception about `average`.",
        "the text of scikit-learn's exception",
    ),
    "kappa-without-weights": (
        "fastai 1's `KappaScore()` ends the first validation.",
        "the text of the exception",
    ),
    "accumulation-of-several-inputs": (
        "fastai 1's `AccumulateScheduler` ends the first batch of a model of several inputs.",
        "the exception's text, and that fastai's own `train.py` raised it",
    ),
    "model-called-in-callback": (
        "A callback of one's own ends the fit: a `ModelOutput` has no such attribute.",
        "the exception, and that a callback called the model outside of fastai's loop",
    ),
    "substitution-loop": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with fastai's own loop",
    ),
    "substitution-callback": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with a callback replaced",
    ),
    "substitution-hook": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with a hook replaced",
    ),
    "substitution-parametrization": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with a parametrization replaced",
    ),
    "substitution-precision": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the weights' precision replaced",
    ),
    "substitution-freezing": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with what is frozen replaced",
    ),
    "substitution-dropout": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with dropout replaced",
    ),
    "substitution-mask": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the attention mask replaced",
    ),
    "substitution-loss": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the loss replaced",
    ),
    "substitution-rate": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the learning rate replaced",
    ),
    "substitution-optimizer": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the optimizer replaced",
    ),
    "substitution-inputs": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the inputs replaced",
    ),
    "substitution-weights": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the weights' values replaced",
    ),
    "substitution-wrapper": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the wrapper replaced",
    ),
    "substitution-head": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the head replaced",
    ),
    "substitution-model": (
        "`deep=True`: metrics do not move, and nothing listed is wrong.",
        "a planted signal that the learner's own loop does not learn, and learns with the model's own code replaced",
    ),
    "seen-in-the-last-fit": (
        "`Doctor` has spoken during the fit, and `diagnose` finds nothing afterwards.",
        "what `learn.doctor` keeps of the last fit, as long as the weights are the same",
    ),
    "unknown-failure": (
        "Something raises that no line here names.",
        "the exception, whose text the finding quotes",
    ),
    "decoder-inputs-missing": (
        "Logits are as wide as the source and targets as the translation: the loss raises; or, both of one width, "
        "nothing but the commonest words is learned.",
        "the decoder's ids, and whether labels are among what an encoder-decoder is given",
    ),
    "targets-not-shifted": (
        "A language model's loss falls to nothing in an epoch, its metric is perfect, and it writes nonsense.",
        "the targets next to the ids at the positions whose outputs the loss compares them with, found by its gradient",
    ),
    "targets-shifted-twice": (
        "A language model learns, and what it writes leaves out every second word.",
        "the positions by which the targets are the ids, and those that the loss looks ahead",
    ),
    "padding-counted": (
        "A label per word: accuracy begins at .9.",
        "the targets on padding to which the loss has a gradient",
    ),
    "metric-at-other-positions": (
        "The loss of a language model falls and its accuracy stands.",
        "where right outputs score best, next to where the loss falls most",
    ),
    "metric-counts-padding": (
        "The metric never comes near 1, or changes with the batch's width.",
        "the metric of right outputs, and with more targets that the loss leaves out",
    ),
    "token-labels-unrelated": (
        "A label per word: training memorises, validation stands.",
        "how often tokens that are alike have the same target, next to shuffled targets",
    ),
    "added-tokens-frozen": (
        "The classifier cannot use the marks that were added to the texts.",
        "the rows of a frozen word embedding that are the mean of all its rows, and whether texts hold their ids",
    ),
}
