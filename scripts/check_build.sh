#!/usr/bin/env bash
# Builds sdist and wheel into dist/, then installs the wheel into an empty environment and tries what a new user would.
#
#     scripts/check_build.sh PYTHON      # one that has `build`; `make dist` gives its own
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: scripts/check_build.sh PYTHON}
fail() { echo "[dist] $*" >&2 && exit 1; }

rm -rf dist build
"$python" -m build --outdir dist . >/dev/null # the sdist from the tree, the wheel from the sdist
wheel=$(echo dist/*.whl)

"$python" - "$wheel" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

held = zipfile.ZipFile(sys.argv[1])
names = {name for name in held.namelist() if ".dist-info/" not in name}
tree = {path.as_posix() for path in Path("fastai_hf_callback").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts}
if names != tree:
    sys.exit(f"[dist] not in the wheel: {sorted(tree - names)}; only in the wheel: {sorted(names - tree)}")
print(f"[dist] {sys.argv[1]}: all {len(tree)} files of the package, and no other")
PYTHON

empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
"$python" -m venv "$empty/venv"
"$empty/venv/bin/python" -m pip install -qq --no-compile "$wheel" -c constraints/v2.txt
cd "$empty" # away from the tree, whose package would be found first
venv/bin/python -c 'import fastai_hf_callback as package; print("[dist] imported", package.__version__, package.unwrap)'
venv/bin/fastai-hf --help >/dev/null || fail "fastai-hf --help failed"
said=$(venv/bin/fastai-hf demo 2>&1) && fail "fastai-hf demo without a fastai must fail"
for extra in fastai1 fastai2; do
    [[ $said == *"pip install 'fastai-hf-callback[$extra]'"* ]] || fail "without a fastai it must name $extra; said: $said"
done
echo "[dist] without a fastai: $said"
