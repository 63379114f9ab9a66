"""Runs every case in a forked child, so that torch, fastai and transformers are imported once, and counts."""

import argparse
import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from tests.installed_stack import FASTAI_1

from .case import RUNS, Case
from .judge import COMPLAINTS, Answer, judge, snapshot

__all__ = ["main"]

TIME_LIMIT = 30.0  # seconds a case
NOBODY = 65534
KINDS = (
    "kinds_files",
    "kinds_numbers",
    "kinds_commands",
    "kinds_factories",
    "kinds_learners",
    "kinds_outputs",
    "kinds_models",
    "kinds_columns",
    "controls",
)
# What the commands import late, here early; those that a stack does not have are passed over.
WARM = (
    "torch",
    "pandas",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "jinja2",
    "transformers",
    "fastai.learner",
    "fastai.callback.schedule",
    "fastai.metrics",
    "fastai.callback.progress",
    "fastprogress",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto",
    "safetensors.torch",
    "fastai_hf_callback.fastai2.learner_factory",
    "fastai_hf_callback.fastai2.comparison.compare",
    "fastai_hf_callback.fastai2.diagnosis.diagnose",
    "fastai_hf_callback.model.pretrained",
    "fastai_hf_callback.data.tables.examples",
    "fastai_hf_callback.cli.factory_file",
    "fastai_hf_callback.diagnosis.checks.failures",
    "fastai_hf_callback.report.page",
    "fastai_hf_callback.report.plot",
    "fastai_hf_callback.report.text",
)


def the_command() -> Any:
    """The package's entry; the only place that knows where it is."""
    from fastai_hf_callback.cli.main import main

    return main


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run all cases, or those whose kind or name holds a word; print the figures; 1 where a case fails."""
    arguments = _arguments(argv)
    if FASTAI_1:
        print("for fastai 2: the models of these cases are of transformers 5")
        return 0
    _prepare_process()
    cases = [case for case in all_cases() if any(w in f"{case.kind}: {case.name}" for w in arguments.only or [""])]
    cases = cases[:: arguments.every]
    if arguments.list:
        print("\n".join(f"{case.kind}: {case.name}: {' '.join(case.argv)!r}" for case in cases))
        return 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bad-inputs-") as folder:
        os.chmod(folder, 0o755)
        _temporary_files_in(Path(folder) / "temporary")
        room = Path(folder) / "room"
        room.mkdir()
        with hushed():
            importlib.import_module(".room", __package__).make_room(room)
        _warm_up()
        results = [_tried(case, room, Path(folder), arguments.verbose) for case in cases]
    _print_figures(results, time.perf_counter() - began)
    return 1 if any(complaints for _, complaints, _ in results) else 0


def all_cases() -> List[Case]:
    """The cases of every kind, each name once in its kind."""
    cases = [case for kind in KINDS for case in importlib.import_module(f".{kind}", __package__).cases()]
    twice = [key for key, n in Counter((case.kind, case.name) for case in cases).items() if n > 1]
    if twice:
        raise ValueError(f"cases of one name: {twice}")
    return cases


def _arguments(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bad inputs of the command line, each judged.")
    parser.add_argument("--only", action="append", help="cases whose kind or name holds this; may be given again")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth case alone")
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--verbose", action="store_true", help="print what each failing case wrote to stderr")
    return parser.parse_args(argv)


# -- one case ------------------------------------------------------------------------------------------------------

Result = Tuple[Case, List[Tuple[str, str]], float]


def _tried(case: Case, room: Path, folder: Path, verbose: bool) -> Result:
    here = folder / "case"
    shutil.copytree(str(room), str(here))
    try:
        if case.prepare is not None:
            with hushed():
                case.prepare(here)
        began = time.perf_counter()
        answer = _answer(case, here, folder)
        took = time.perf_counter() - began
    finally:
        shutil.rmtree(str(here))
    complaints = judge(case, answer)
    if complaints:
        _print_failure(case, complaints, answer, verbose)
    return case, complaints, took


def _answer(case: Case, here: Path, folder: Path) -> Answer:
    before = snapshot(here)
    out, err = folder / "stdout", folder / "stderr"
    out.write_bytes(b"")
    err.write_bytes(b"")
    pid = os.fork()
    if pid == 0:
        _child(case, here, case.stdout or str(out), str(err))
    code, timed_out = _waited(pid)
    _end_workers(pid)
    texts = [path.read_bytes().decode("utf-8", "replace") for path in (out, err)]
    return Answer(code, texts[0], texts[1], before, snapshot(here), timed_out)


def _waited(pid: int) -> Tuple[int, bool]:
    end, pause = time.monotonic() + TIME_LIMIT, 0.002
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), False
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL, True


def _end_workers(group: int) -> None:
    """What a command left running, such as workers of its loaders."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _child(case: Case, here: Path, out: str, err: str) -> None:
    """Never returns: the command, and then what the interpreter does when it ends."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
        _point_streams(out, err)
        os.chdir(str(here))
        if case.ordinary_user and os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        words = [word.replace("{here}", str(here)) for word in case.argv]
        sys.argv = ["fastai-hf", *words]
        sys.path[:] = [path for path in sys.path if path]
        code = _left_with(words)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(_flushed(code) & 255)


def _left_with(words: List[str]) -> int:
    try:
        return int(the_command()(words))
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1


def _point_streams(out: str, err: str) -> None:
    for path, flags, number in ((os.devnull, os.O_RDONLY, 0), (out, os.O_WRONLY, 1), (err, os.O_WRONLY, 2)):
        os.dup2(os.open(path, flags), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _flushed(code: int) -> int:
    """As the interpreter does: 120 where what was printed cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception as error:
            os.write(2, f"Exception ignored while flushing: {error}\n".encode())
            return 120
    return code


# -- the process ---------------------------------------------------------------------------------------------------


def _prepare_process() -> None:
    os.environ.update(
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
        MPLBACKEND="Agg",
        HF_HUB_DISABLE_TELEMETRY="1",
    )
    warnings.simplefilter("ignore")


def _temporary_files_in(folder: Path) -> None:
    """Those of the children too, which end without tidying up."""
    folder.mkdir()
    folder.chmod(0o777)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing reaches stderr meanwhile, as transformers' bars do when models are made for a case."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _warm_up() -> None:
    for name in WARM:
        with suppress(ImportError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    the_command()
    gc.collect()
    gc.freeze()  # what is here already is not written to, and so not copied, in the children


# -- figures -------------------------------------------------------------------------------------------------------


def _print_failure(case: Case, complaints: List[Tuple[str, str]], answer: Answer, verbose: bool) -> None:
    last = (answer.stderr.strip().splitlines() or [""])[-1]
    what = "; ".join(f"{name} ({exactly})" for name, exactly in complaints)
    print(f"FAILS  {case.kind}: {case.name}: {what} | exit {answer.code} | {last[:160]}", flush=True)
    if verbose:
        print(f"       $ fastai-hf {' '.join(case.argv)}"[:400])
        print("".join(f"       {line[:300]}\n" for line in answer.stderr.splitlines()[-25:]), flush=True)


def _print_figures(results: List[Result], seconds: float) -> None:
    print(f"\n{'kind':<44}{'cases':>7}{'fail':>7}{'slowest':>9}")
    by_kind: Dict[str, List[Result]] = {}
    for result in results:
        by_kind.setdefault(result[0].kind, []).append(result)
    for kind, of_kind in by_kind.items():
        failing = sum(bool(complaints) for _, complaints, _ in of_kind)
        print(f"{kind:<44}{len(of_kind):>7}{failing:>7}{max(took for _, _, took in of_kind):>8.1f}s")
    failing = sum(bool(complaints) for _, complaints, _ in results)
    print(f"{'all':<44}{len(results):>7}{failing:>7}\n")
    controls = sum(2 not in case.codes and case.codes <= RUNS for case, _, _ in results)
    counts = Counter(name for _, complaints, _ in results for name in {name for name, _ in complaints})
    for name in COMPLAINTS:
        print(f"{name:<20}{counts[name]:>5}")
    print(f"\n{len(results)} cases, {controls} of them valid input; {failing} fail; {seconds:.0f} s")
