#!/usr/bin/env bash
# Makes the environment of one stack, .venvs/STACK, from nothing. Its stamp, .ready, comes last, so what was
# interrupted is made again. With uv when there is one, else with pip.
#
#     scripts/setup_venv.sh v1|era|v2 [PYTHON]     # a version, or an interpreter
#     scripts/setup_venv.sh dev                    # what lints, type-checks and builds
#     scripts/setup_venv.sh v1|era|v2 --can        # only: is a Python for it at hand?
#     TRY_IN=FOLDER scripts/setup_venv.sh v2 3.12 'fastai>=2.8' transformers==4.57.1
#                                                  # elsewhere, and held to these requirements instead of the lock
set -euo pipefail
cd "$(dirname "$0")/.."

stack=${1:?usage: scripts/setup_venv.sh v1|era|v2 [PYTHON [REQUIREMENT ...]]}
python=${2:-}
requirements=("${@:3}")
case $stack in
    v1) want=3.11 extra=fastai1 imports="fastai.basic_train, fastai.text, pytorch_transformers" ;;
    era) want=3.8 extra=fastai1 imports="fastai.basic_train, fastai.text, pytorch_transformers" ;;
    v2) want=3.11 extra=fastai2 imports="fastai.distributed, fastai.learner, transformers.models.bert.modeling_bert" ;;
    dev) want=3.11 extra= imports="build, mypy" ;;
    *) echo "STACK is v1, era or v2, not \"$stack\"" >&2 && exit 2 ;;
esac
venv=${TRY_IN:-.venvs/$stack}
lock=constraints/$stack.txt
packages=(-e ".[$extra,test]" -c "$lock") what=$lock
[ "$stack" != dev ] || packages=(-r "$lock")
[ ${#requirements[@]} -eq 0 ] || { packages=(-e ".[$extra,test]" "${requirements[@]}") && what=${requirements[*]}; }
made_for=$want
[[ $python =~ ^3\.[0-9]+$ ]] && want=$python python=

say() { echo "[$stack] $*"; }
fail() { echo "[$stack] $*" >&2 && exit 1; }

# The caller may say where packages come from, not where they go or which they are.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONDONTWRITEBYTECODE
unset VIRTUAL_ENV CONDA_PREFIX PYENV_VERSION
unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_DRY_RUN
unset PIP_CONSTRAINT PIP_REQUIREMENT PIP_NO_DEPS PIP_PRE PIP_UPGRADE PIP_NO_BINARY PIP_NO_BUILD_ISOLATION
unset UV_CONSTRAINT UV_OVERRIDE UV_PYTHON UV_SYSTEM_PYTHON UV_PRERELEASE UV_RESOLUTION UV_EXCLUDE_NEWER
unset UV_NO_BINARY UV_NO_BUILD_ISOLATION

# Two makes at once: the second waits, and finds the work done.
mkdir -p "$(dirname "$venv")"
if command -v flock >/dev/null; then
    exec 9>"$(dirname "$venv")/.$(basename "$venv").lock"
    flock -n 9 || { say "another set-up of $venv is under way: waiting" && flock 9; }
    newer=1
    for source in pyproject.toml setup.py "$lock" "$0"; do [ "$venv/.ready" -nt "$source" ] || newer=; done
    [ ${#requirements[@]} -gt 0 ] || [ -z "$newer" ] || exit 0
fi

uv=$(command -v uv || true)
[ -n "$uv" ] && ! "$uv" --version >/dev/null 2>&1 && uv=

# --- the interpreter ---------------------------------------------------------------------------------------------

# A shim on PATH may have nothing behind it, and Debian ships a Python that cannot make environments: so try.
needs=ensurepip
[ -n "$uv" ] && needs=sys
works() { "$1" -c "import $needs" >/dev/null 2>&1; }

find_python() {
    local candidate root
    works "python$want" && echo "python$want" && return
    for root in "$(pyenv root 2>/dev/null || true)" ~/.pyenv /root/.pyenv; do
        for candidate in "$root/versions/$want"*/bin/python; do
            works "$candidate" && echo "$candidate" && return
        done
    done
    if [ -n "$uv" ]; then
        candidate=$("$uv" python find --no-python-downloads "$want" 2>/dev/null || true)
        works "$candidate" && echo "$candidate" && return
    fi
    # torch 1.4 knows no Python after 3.8; the other stacks can be tried on any.
    [ "$want" != 3.8 ] && works python3 && echo python3
}

if [ "$python" = --can ]; then
    find_python >/dev/null
    exit
fi
if [ -z "$python" ]; then
    python=$(find_python) ||
        fail "needs Python $want, with venv and ensurepip; none found (pyenv install $want, or PYTHON=/path/to/python)"
fi
"$python" -c "" 2>/dev/null || fail "PYTHON=$python does not run"
python=$("$python" -c 'import sys; print(sys.executable)') # what stands behind a shim
version=$("$python" -c 'import platform; print(platform.python_version())')
say "Python $version, $([ -n "$uv" ] && echo uv || echo pip)"
[ ${#requirements[@]} -gt 0 ] || [[ $version == "$made_for".* ]] ||
    say "$lock was made for Python $made_for: this may not work"

# --- the packages ------------------------------------------------------------------------------------------------

# uv reads nothing that pip is told: hand it over. What uv itself is told goes first.
pip_setting() { "$python" -m pip config get "global.$1" 2>/dev/null | tr '\n' ' ' || true; }
hand_over() { # hand_over UV_NAME VALUE SEPARATOR
    local words
    read -r -a words <<<"$2" || true
    [ ${#words[@]} -eq 0 ] || [ -n "${!1:-}" ] || export "$1=$(IFS=$3 && echo "${words[*]}")"
}

with_uv() {
    hand_over UV_FIND_LINKS "${PIP_FIND_LINKS:-$(pip_setting find-links)}" ,
    hand_over UV_DEFAULT_INDEX "${PIP_INDEX_URL:-$(pip_setting index-url)}" ' '
    hand_over UV_INDEX "${PIP_EXTRA_INDEX_URL:-$(pip_setting extra-index-url)}" ' '
    hand_over SSL_CERT_FILE "${PIP_CERT:-$(pip_setting cert)}" ' '
    export UV_INDEX_STRATEGY=unsafe-best-match # as pip: the best version of all indexes
    "$uv" venv -q --python "$python" "$venv" &&
        "$uv" pip install -q --python "$venv/bin/python" "${packages[@]}"
}

with_pip() {
    # pip: editable installs from pyproject.toml, and today's wheels; nothing to do where it is new enough.
    # Not compiled: all of it takes longer than the installation, and what is used compiles when first imported.
    "$python" -m venv "$venv" &&
        "$venv/bin/python" -m pip install -qq "pip>=21.3" &&
        "$venv/bin/python" -m pip install -qq --no-compile "${packages[@]}"
}

drop() {
    if [ -x "$venv/bin/pip" ]; then "$venv/bin/python" -m pip uninstall -qq -y "$1"
    else "$uv" pip uninstall -q --python "$venv/bin/python" "$1"; fi
}

rm -rf "$venv"
say "installing $what into $venv (a minute or a few)"
if [ -n "$uv" ] && ! with_uv; then
    say "uv could not; trying pip"
    rm -rf "$venv"
    uv=
fi
[ -n "$uv" ] || with_pip || fail "pip could not install $what"

# fastai asks for torchvision, and an index often has its CUDA build alone. Beside a CPU-only torch that one cannot be
# imported, and transformers, which imports it wherever it is installed, goes down with it. Only fastai.vision needs it.
if [ "$stack" != dev ] && ! "$venv/bin/python" -c 'import torchvision' >/dev/null 2>&1; then
    say "torchvision cannot be imported beside this torch: leaving it out"
    drop torchvision
fi

say "importing once"
"$venv/bin/python" -W ignore -c "import $imports" || fail "the packages of $what are installed, but do not import"

touch "$venv/.ready"
say "ready"
