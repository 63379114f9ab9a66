#!/usr/bin/env bash
# Tries a combination that no lock stands for: makes an environment for it in .venvs/try-..., runs the tests, and
# prints its line for docs/supported.md.
#
#     scripts/try_stack.sh v2 3.13                                    # the lock, on another Python
#     scripts/try_stack.sh v2 3.11 fastai==2.7.19                     # no lock, but this
#     scripts/try_stack.sh v1 3.11 pytorch-transformers               # no lock: the newest of everything
#     scripts/try_stack.sh v2 3.13 --pre fastai transformers          # pre-releases: what else pip install takes
#     ARGS="-k callback -x" WORKERS=1 scripts/try_stack.sh ...        # more for pytest; how many at once
set -euo pipefail
cd "$(dirname "$0")/.."

stack=${1:?usage: scripts/try_stack.sh v1|v2 PYTHON [REQUIREMENT ...]}
python=${2:?usage: scripts/try_stack.sh v1|v2 PYTHON [REQUIREMENT ...]}
name=$(printf '%s-' "$stack" "$python" "${@:3}" | tr -c 'a-zA-Z0-9.=\n' '-')
export TRY_IN=${TRY_IN:-.venvs/try-${name%-}}

bash scripts/setup_venv.sh "$@"

log=$TRY_IN/pytest.log
read -r -a arguments <<<"${ARGS:-}"
status=0
OMP_NUM_THREADS=1 "$TRY_IN/bin/python" -m pytest -n "${WORKERS:-2}" --dist worksteal -q \
    ${arguments[@]+"${arguments[@]}"} 2>&1 | tee "$log" || status=$?

"$TRY_IN/bin/python" - "$log" <<'PYTHON'
import platform
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version


def of(package):
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


names = ("torch", "fastai", "pytorch-transformers", "transformers")
told = [line.strip("= \n") for line in open(sys.argv[1], encoding="utf-8") if " passed" in line or " failed" in line]
print(f"| {platform.python_version()} | {', '.join(filter(None, map(of, names)))} | {told[-1] if told else 'did not run'} "
      f"| {date.today()} |")
PYTHON
exit "$status"
