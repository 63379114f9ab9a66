"""Small deliberate breakages, each of which the tests must catch.

    python -m tests.mutants [NAME ...]

Each is made in a copy of the tree, and the test files named next to it are run there; a mutant that they
do not catch is a gap in the tests. Not part of the suite: it takes a few minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional

from tests.installed_stack import FASTAI_1

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "fastai_hf_callback"
CALLBACK, LOOP, ARMS = (
    "tests/both_fastais/test_callback.py",
    "tests/comparison/test_patched_loop.py",
    "tests/comparison/test_compare.py",
)
BATCHING, DATA, DATA_2 = (
    "tests/data/batches/test_batching.py",
    "tests/data/test_text_data.py tests/fastai1/data",
    "tests/data/test_text_data.py tests/fastai2/data",
)
PROBE, MENDING = "tests/diagnosis/test_diagnose.py", "tests/fastai1/compat/heal"


class Mutant(NamedTuple):
    """Replace `old` by `new` in `file`; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "an output onto an input",
        "cli/outputs.py",
        "        _check_not_read(output, inputs)\n",
        "",
        "tests/cli/test_outputs.py",
    ),
    Mutant(
        "an exit passes for a verdict",
        "cli/main.py",
        "except BaseException as error:  # a run that fails",
        "except Exception as error:  # a run that fails",
        "tests/cli/test_main.py",
    ),
    Mutant(
        "a body drawn at random", "model/pretrained.py", "    if random:\n", "    if None:\n", "tests/cli/test_main.py"
    ),
    Mutant(
        "gradients not put back",
        "utils/snapshot.py",
        "parameter.data, parameter.grad = weight, gradient",
        "parameter.data = weight",
        PROBE,
    ),
    Mutant("optimizer state shared", "utils/snapshot.py", "p: _copy_values(values) for p", "p: values for p", PROBE),
    Mutant(
        "callbacks not copied",
        "utils/snapshot.py",
        "        made = type(thing).__new__(type(thing))\n",
        "        return thing\n",
        PROBE,
    ),
    Mutant(
        "random states of the examination kept",
        "utils/snapshot.py",
        "with preserve_rng_state(), warnings",
        "with warnings",
        PROBE,
    ),
    Mutant(
        "decay taken for movement",
        "diagnosis/probes/weight_updates.py",
        "decayed = before * (1 - lr * wd)",
        "decayed = before",
        "tests/diagnosis/probes/test_weight_updates.py",
    ),
    Mutant(
        "padding is never read",
        "diagnosis/checks/inputs.py",
        "return _padding_change(evidence) > enough",
        "return False",
        "tests/diagnosis/checks/test_data_checks.py",
    ),
    Mutant(
        "a doctor that ends the fit",
        "diagnosis/fit_monitor.py",
        "        except Exception as error:\n            self.monitor.record",
        "        except TypeError as error:\n            self.monitor.record",
        "tests/diagnosis/test_doctor.py",
    ),
    Mutant(
        "the short batch is left out",
        "data/batches/sampler.py",
        "self._shuffle_batches(batches) + last",
        "self._shuffle_batches(batches)",
        BATCHING,
    ),
    Mutant(
        "rows in order of the file",
        "data/batches/sampler.py",
        "torch.randperm(len(self)).numpy()",
        "np.arange(len(self))",
        BATCHING,
    ),
    Mutant(
        "padded on the other side",
        "data/batches/padding.py",
        'if side == "left" else',
        'if side != "left" else',
        BATCHING,
    ),
    Mutant("a word's later pieces are targets", "data/batches/token_labels.py", " & (word_ids != before)", "", DATA),
    Mutant(
        "predictions left by length",
        "fastai1/data/ordered_preds.py",
        "torch.from_numpy(np.argsort(order))",
        "torch.from_numpy(order)",
        DATA,
    ),
    Mutant(
        "padding not masked",
        "data/batches/collate.py",
        "return build_attention_mask([row.input_ids for row in rows], padding.side, width)",
        "return torch.ones_like(self._pad([row.input_ids for row in rows], 0, width))",
        "tests/fastai1/data/test_batch_invariance.py",
    ),
    Mutant("an item left in the validation set", "fastai1/data/loaders.py", "self.single_ds.item = None", "pass", DATA),
    Mutant(
        "a larger vocabulary is taken",
        "data/batches/batch_spec.py",
        "self.vocab_size > rows",
        "self.vocab_size < rows",
        BATCHING,
    ),
    Mutant(
        "wrong element of a tuple",
        "model/output.py",
        "return _find_logits(values[0], whole)",
        "return _find_logits(values[-1], whole)",
        "tests/model/test_output.py",
    ),
    Mutant(
        "a loss taken for logits",
        "model/output.py",
        "    if first.dim() == 0:\n        return True\n",
        "",
        "tests/model/test_output.py",
    ),
    Mutant(
        "output cloned",
        "fastai1/callback.py",
        "logits = unwrap(last_output, self.element)",
        "logits = unwrap(last_output, self.element).clone()",
        CALLBACK,
    ),
    Mutant(
        "output detached",
        "fastai1/callback.py",
        "logits = unwrap(last_output, self.element)",
        "logits = unwrap(last_output, self.element).detach().requires_grad_()",
        CALLBACK,
    ),
    Mutant("callback runs last", "fastai1/callback.py", "_order = -1000", "_order = 1000", CALLBACK),
    Mutant(
        "output held beyond the batch",
        "fastai1/callback.py",
        "weakref.ref(tensor, self._clear_batch)",
        "weakref.ref(tensor)",
        CALLBACK,
    ),
    Mutant("first batch not looked at", "model/sanity_checks.py", "if found.may_train:", "if True:", CALLBACK),
    Mutant(
        "foreign leaves taken for parameters",
        "model/gradient_flow.py",
        "if isinstance(leaf, nn.Parameter):",
        "if isinstance(leaf, Tensor):",
        CALLBACK,
    ),
    Mutant(
        "loss of numbers compares every row with every target",
        "model/loss/traits.py",
        'return "aligned" if broadcasts else "given"',
        'return "given"',
        "tests/model/loss/test_own_loss.py",
    ),
    Mutant(
        "padding counted by a loss of words",
        "model/loss/traits.py",
        "return outputs[labelled], targets[labelled]",
        "return outputs.flatten(0, -2), targets.flatten()",
        "tests/model/loss/test_own_loss.py",
    ),
    Mutant(
        "probabilities activated again",
        "model/loss/traits.py",
        'if task != "regression" and _takes_probabilities(loss_func, layout, outputs, targets):',
        "if False:",
        "tests/model/loss/test_own_loss.py",
    ),
    Mutant(
        "broadcast never seen",
        "model/loss/broadcast.py",
        "rows_aligned = output.dim() == target.dim()",
        "return False",
        "tests/model/loss/test_broadcast.py",
    ),
    Mutant(
        "mask dropped",
        "model/wrapper.py",
        'return {**named, "attention_mask": ids.ne(pad_token_id).long()}',
        "return named",
        "tests/model/test_wrapper.py",
    ),
    Mutant(
        "mask inverted",
        "model/wrapper.py",
        "ids.ne(pad_token_id).long()",
        "ids.eq(pad_token_id).long()",
        "tests/model/test_wrapper.py",
    ),
    Mutant(
        "checkpoint keys with a prefix",
        "model/wrapper.py",
        "return self.model.state_dict(*args, **kwargs)",
        "return super().state_dict(*args, **kwargs)",
        "tests/model/test_wrapper_checkpoints.py",
    ),
    Mutant(
        "misspelt names taken",
        "model/inputs/forward_signature.py",
        "return self.takes_any or self.knows(name)",
        "return True",
        "tests/model/inputs/test_forward_signature.py",
    ),
    Mutant(
        "keywords not followed",
        "model/inputs/forward_signature.py",
        "return callable(target) and self.read(target, places, given, depth + 1)",
        "return False",
        "tests/model/inputs/test_forward_signature.py",
    ),
    Mutant(
        "hooks pickled",
        "model/wrapper.py",
        "        leave_hooks_out_of_pickles(self)\n",
        "",
        "tests/model/test_capture_hooks.py",
    ),
    Mutant(
        "old export replaced by half a new one",
        "utils/atomic_file.py",
        "        yield Path(name)\n",
        "        os.replace(name, path)\n        yield path\n",
        "tests/utils/test_atomic_file.py",
    ),
    Mutant(
        "inputs by position",
        "model/wrapper.py",
        "return self.model(**self._complete_inputs(batch, named))",
        "return self.model(*self._complete_inputs(batch, named).values())",
        "tests/model/test_wrapper.py",
    ),
    Mutant(
        "lone parameters left out",
        "model/layer_groups.py",
        "values = own if next(module.children(), None) is not None else [module] if own else []",
        "values = [] if next(module.children(), None) is not None else [module] if own else []",
        "tests/model/test_layer_groups.py",
    ),
    Mutant(
        "tied weights in two groups",
        "model/layer_groups.py",
        "    changed = True\n",
        "    changed = False\n",
        "tests/model/test_layer_groups.py",
    ),
    Mutant(
        "frozen biases decay",
        "fastai1/layer_groups.py",
        "if isinstance(part, no_wd_types) or",
        "if isinstance(part, no_wd_types + (nn.Linear,)) or",
        "tests/fastai1/test_layer_groups.py",
    ),
    Mutant(
        "an answer ends before it begins",
        "model/question_answering.py",
        "np.where(later, -np.inf, begins)",
        "begins",
        "tests/model/test_losses.py",
    ),
    Mutant(
        "the next token is the same one",
        "model/losses.py",
        "logits, ids = logits[:, :-1], ids[:, 1:]",
        "pass",
        "tests/model/test_losses.py",
    ),
    Mutant(
        "an answer cut off is a target",
        "data/batches/qa_encoding.py",
        " or end > context.ends[inside[-1]]",
        "",
        "tests/data/test_question_answering.py",
    ),
    Mutant(
        "answers counted without the padding before them",
        "data/batches/qa_encoding.py",
        "return np.array(span, dtype=np.int64) + left_padding",
        "return np.array(span, dtype=np.int64)",
        "tests/data/test_question_answering.py",
    ),
    Mutant(
        "an answer anywhere in its context",
        "data/tables/qa_answers.py",
        " and context[begin:end] == answer.text",
        "",
        "tests/data/test_question_answering.py",
    ),
    Mutant(
        "loop not put back",
        "fastai1/comparison/patched_loop.py",
        '    with patch.object(basic_train, "loss_batch", _build_article_loss_batch(element)):\n        yield',
        "    basic_train.loss_batch = _build_article_loss_batch(element)\n    yield",
        LOOP,
    ),
    Mutant(
        "patched loop skips the step's last event",
        "fastai1/comparison/patched_loop.py",
        "if not cb_handler.on_step_end():\n                opt.zero_grad()",
        "opt.zero_grad()",
        "tests/parity/test_matrix.py -k half_precision",
    ),
    Mutant(
        "patched loop off by a hair",
        "fastai1/comparison/patched_loop.py",
        "loss = loss_func(out, *yb)",
        "loss = loss_func(out, *yb) * 1.0000001",
        "tests/comparison/test_bitwise_parity.py -k bert-classes",
    ),
    Mutant(
        "arms not seeded alike",
        "comparison/runner.py",
        "    seed_everything(seed)\n    learn = build_learner(",
        "    learn = build_learner(",
        ARMS,
    ),
    Mutant(
        "each arm's factory may log",
        "comparison/runner.py",
        "silence_logs(arm != ARMS[0])",
        "silence_logs(False)",
        "tests/comparison/test_runner.py",
    ),
    Mutant(
        "user's path not put back",
        "fastai1/comparison/compare.py",
        "path=learn.path, model_dir",
        "model_dir",
        ARMS,
    ),
    Mutant(
        "a tolerance in the comparison",
        "results/comparison.py",
        "return a.hex() == b.hex()",
        "return abs(a - b) < 1e-6",
        "tests/comparison/test_comparison.py",
    ),
    Mutant(
        "stuck counts as moved",
        "results/comparison.py",
        "return 0 if self.moved else 3",
        "return 0",
        "tests/comparison/test_comparison.py",
    ),
    Mutant("numpy's arrays not put back", "compat/patching.py", "setattr(module, name, original)", "pass", MENDING),
    Mutant(
        "a pickle trusted beside the named one",
        "compat/trusted_loading.py",
        "path == one or one in path.parents",
        "path.parent == one.parent or one in path.parents",
        MENDING,
    ),
    Mutant(
        "any checkpoint loaded as a full pickle",
        "fastai1/compat/heal.py",
        "            return original(self, *args, **kwargs)",
        "            from ..trust import trusted\n            with trusted('/'):\n"
        "                return original(self, *args, **kwargs)",
        MENDING,
    ),
    Mutant(
        "a text dealt to two processes",
        "data/batches/sampler.py",
        "step[rank::world_size] for step",
        "step[rank:] for step",
        BATCHING,
    ),
    Mutant(
        "the last texts dealt to none",
        "data/batches/sampler.py",
        "return [*sizes, max(rest, world_size)]",
        "return sizes",
        BATCHING,
    ),
    Mutant(
        "output cloned, 2",
        "fastai2/callback.py",
        "logits = unwrap(learn.pred, self.element)",
        "logits = unwrap(learn.pred, self.element).clone()",
        CALLBACK,
    ),
    Mutant(
        "output detached, 2",
        "fastai2/callback.py",
        "logits = unwrap(learn.pred, self.element)",
        "logits = unwrap(learn.pred, self.element).detach().requires_grad_()",
        CALLBACK,
    ),
    Mutant(
        "the callback's own pred is set", "fastai2/callback.py", "learn.pred = logits", "self.pred = logits", CALLBACK
    ),
    Mutant("callback runs last, 2", "fastai2/callback.py", "order = -1000", "order = 1000", CALLBACK),
    Mutant(
        "output held beyond the batch, 2",
        "fastai2/callback.py",
        "def after_batch(self) -> None:\n        self._output = None",
        "def after_batch(self) -> None:\n        pass",
        CALLBACK,
    ),
    Mutant(
        "half-precision weights are not made float32",
        "model/weights/precision.py",
        "for p in chosen:\n        _widen(p)",
        "for p in chosen:\n        pass",
        "tests/model/weights/test_precision.py",
    ),
    Mutant(
        "frozen half-precision weights are made float32, too",
        "model/weights/precision.py",
        "trainable = [p for p in model.parameters() if p.requires_grad]",
        "trainable = [p for p in model.parameters()]",
        "tests/model/weights/test_precision.py",
    ),
    Mutant(
        "what was made float32 is said at every fit",
        "model/weights/precision.py",
        "self._has_warned = True",
        "self._has_warned = False",
        "tests/model/weights/test_precision.py",
    ),
    Mutant(
        "casts are added again at each fit",
        "model/weights/activation_casts.py",
        "            _remove_hooks(module)\n",
        "",
        "tests/model/weights/test_activation_casts.py",
    ),
    Mutant(
        "autocast is left on",
        "compat/autocast.py",
        "torch.set_autocast_enabled(device, enabled)",
        "pass",
        "tests/comparison/test_mixed_precision.py",
    ),
    Mutant(
        "frozen weights keep their gradients",
        "model/weights/frozen.py",
        "                p.grad = None",
        "                pass",
        "tests/both_fastais/test_frozen_weights.py",
    ),
    Mutant(
        "an accumulation leaks into the next fit",
        "model/weights/weight_corrections.py",
        "            optimizer.zero_grad()\n",
        "",
        "tests/both_fastais/test_frozen_weights.py",
    ),
    Mutant(
        "output held after a failure, 2",
        "fastai2/callback.py",
        "super().before_fit()\n        self._output = None",
        "super().before_fit()",
        CALLBACK,
    ),
    Mutant(
        "first batch not looked at, 2",
        "fastai2/callback.py",
        "check_gradient_flow(self.learn.loss_grad, self.learn.pred)",
        "pass",
        CALLBACK,
    ),
    Mutant(
        "loop not put back, 2",
        "fastai2/comparison/patched_loop.py",
        '    with patch.object(Learner, "_do_one_batch", _build_article_do_one_batch(element)):\n        yield',
        "    Learner._do_one_batch = _build_article_do_one_batch(element)\n    yield",
        LOOP,
    ),
    Mutant(
        "patched loop without the backward events",
        "fastai2/comparison/patched_loop.py",
        "self._do_grad_opt()",
        "self.loss_grad.backward(), self.opt.step(), self.opt.zero_grad()",
        "tests/fastai2/comparison/test_patched_loop.py",
    ),
    Mutant(
        "loaders not seeded alike",
        "fastai2/comparison/compare.py",
        "staticmethod(seed_loaders)",
        "staticmethod(print)",
        ARMS,
    ),
    Mutant(
        "learner's attributes not put back",
        "fastai2/compat/learner_state.py",
        "            attributes.clear()\n            attributes.update(before)",
        "            pass",
        ARMS,
    ),
    Mutant(
        "loaders' random states not put back", "fastai2/compat/learner_state.py", "rng.setstate(state)", "pass", ARMS
    ),
    Mutant(
        "validation taken for an epoch",
        "fastai2/comparison/recorder.py",
        "        if self._is_fitting:\n",
        "        if True:\n",
        ARMS,
    ),
    Mutant(
        "a tied weight steps twice",
        "fastai2/layer_groups.py",
        "return list({id(p): p for p in every}.values())",
        "return every",
        "tests/fastai2/test_layer_groups.py",
    ),
    Mutant(
        "a metric holds its tensors",
        "fastai2/metrics.py",
        "            self.reset()\n            self._value",
        "            self._value",
        "tests/both_fastais/test_callback_contract.py",
    ),
    Mutant(
        "training rows drawn by fastai",
        "fastai2/data/loaders.py",
        "return self._draw_rows(idxs, self.bs).tolist()",
        "return super().shuffle_fn(idxs)",
        DATA_2,
    ),
    Mutant(
        "training padded to the longest of the set",
        "fastai2/data/loaders.py",
        "if self.is_reshuffled or not",
        "if not",
        DATA_2,
    ),
    Mutant(
        "predictions left by length, 2",
        "fastai2/data/loaders.py",
        "get_idxs=sort_longest_first(self.dataset.lengths).tolist)",
        "dataset=type(self.dataset)([self.dataset.rows[at] for at in sort_longest_first(self.dataset.lengths)], "
        "self.dataset.targets, self.dataset.collator, self.dataset.labels))",
        DATA_2,
    ),
    Mutant(
        "padding not masked, 2",
        "data/batches/collate.py",
        "return build_attention_mask([row.input_ids for row in rows], padding.side, width)",
        "return torch.ones_like(self._pad([row.input_ids for row in rows], 0, width))",
        "tests/fastai2/data/test_batch_invariance.py",
    ),
    Mutant(
        "a batch without words is NaN",
        "data/batches/token_labels.py",
        "return input.sum() * 0",
        "return super().forward(input, target)",
        DATA_2,
    ),
    Mutant(
        "the loaders' seeds drawn from python's generator",
        "fastai2/data/text_data.py",
        "with preserve_rng_state():",
        "if True:",
        DATA_2,
    ),
    Mutant(
        "the last fit's recorder emptied",
        "fastai2/data/ordered_preds.py",
        "with preserve_learner(learn), preserve_attributes(list(learn.cbs)):",
        "with preserve_learner(learn):",
        DATA_2,
    ),
    Mutant(
        "words lose their place",
        "fastai2/data/loaders.py",
        "row, n_words = dataset.collator.recover_row(parts[:n_inp], dataset.rows)",
        "row, n_words = dataset.collator.recover_row(parts[:n_inp], dataset.rows)\n        row = "
        "row._replace(word_ids=None)",
        DATA_2,
    ),
)


def main(names) -> int:
    chosen = [mutant for mutant in MUTANTS if is_of_this_stack(mutant) and (not names or mutant.name in names)]
    survived, judged = [], 0
    for mutant in chosen:
        caught = is_caught(mutant)
        said = "not here" if caught is None else "caught  " if caught else "SURVIVED"
        print(f"{said}  {mutant.name}  ({mutant.tests})", flush=True)
        judged += caught is not None
        survived += [mutant.name] if caught is False else []
    print(f"{judged - len(survived)} of {judged} caught, {len(chosen) - judged} whose tests are all of another stack")
    return 1 if survived else 0


def is_of_this_stack(mutant: Mutant) -> bool:
    """Return whether the mutant is in code of the installed fastai, or of both."""
    rooms = {room for room in ("fastai1", "fastai2") if room in mutant.file + mutant.tests}
    return rooms <= {"fastai1" if FASTAI_1 else "fastai2"}


def is_caught(mutant: Mutant) -> Optional[bool]:
    """Return whether the tests fail on the mutant; None where this stack has none of them."""
    with tempfile.TemporaryDirectory() as folder:
        for part in (PACKAGE, "tests"):
            shutil.copytree(str(ROOT / part), str(Path(folder) / part), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(str(ROOT / "pyproject.toml"), folder)
        path = Path(folder) / PACKAGE / mutant.file
        source = path.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.name}: its line stands {source.count(mutant.old)} times in {mutant.file}")
        path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", *mutant.tests.split(" ")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutant.name}: the tests did not run\n{done.stdout.decode()}")
    if done.returncode == 0 and b" passed" not in done.stdout:
        return None
    return done.returncode == 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
