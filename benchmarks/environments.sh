#!/usr/bin/env bash
# Makes what the benchmark's peers run in: .venvs/v1, .venvs/v2 (scripts/setup_venv.sh) and .venvs/peer-blurr.
# Without blurr's the rest is measured all the same, and the page says that blurr was not.
set -euo pipefail
cd "$(dirname "$0")/.."

for stack in v1 v2; do
    [ -f ".venvs/$stack/.ready" ] || bash scripts/setup_venv.sh "$stack"
done

venv=.venvs/peer-blurr
lock=benchmarks/peers/blurr.txt
[ -f "$venv/.ready" ] && [ "$venv/.ready" -nt "$lock" ] && exit 0

# blurr 1.0.5 asks for torch < 2 and fastai 2.7 for torch < 2.7; both work with today's, which the other arms have too.
# So every package is named in the lock, and no resolver is asked.
echo "[peer-blurr] installing $lock into $venv (a minute or a few)"
rm -rf "$venv"
python=$(.venvs/v2/bin/python -c 'import sys; print(sys.base_prefix + "/bin/python3")')
if "$python" -m venv "$venv" && "$venv/bin/python" -m pip install -qq --no-compile --no-deps -r "$lock" &&
    "$venv/bin/python" -W ignore -c 'import blurr.text.data.core, blurr.text.modeling.core'; then
    touch "$venv/.ready"
    echo "[peer-blurr] ready"
else
    rm -rf "$venv"
    echo "[peer-blurr] could not be made: blurr will not be measured" >&2
fi
