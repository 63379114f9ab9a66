# Every target makes what it needs in .venvs/$(STACK), once. With no GPU at hand, the CPU builds of torch save
# gigabytes: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
STACK ?= v1
# Whether the caller named a stack: `make test` alone tests every stack whose Python is at hand.
NAMED := $(filter-out file,$(origin STACK))
# The interpreter to build on; chosen per stack when empty. The command line sets it, the environment does not.
PYTHON =
# More for pytest, such as ARGS="-k callback -x".
ARGS ?=
# What `make test` for all stacks adds on one of them.
ONCE =

ifeq ($(filter $(STACK),v1 era v2),)
$(error STACK is v1, era or v2, not "$(STACK)")
endif

VENV := .venvs/$(STACK)
READY := $(VENV)/.ready
# What lints, type-checks and builds, whatever the stack.
DEV := .venvs/dev
# One thread each: on a busy machine tiny models crawl when torch's threads wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(VENV)/bin/python -m pytest -n 2 --dist worksteal

# Nothing of the caller's Python reaches into the environments; without bytecode every import takes twice as long.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

.PHONY: help venv test quick coverage lint types dist parity models today faults reported mutants bench bench-gpu docs notebooks demo clean

help: ## this list
	@echo "make TARGET [STACK=v1|era|v2]   (now: $(STACK))"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-11s %s\n", $$1, $$2}'
	@echo "  v1: fastai 1 on Python 3.11 · era: fastai 1 on Python 3.8 and torch 1.4 · v2: fastai 2 on Python 3.11"

venv: $(READY) ## the environment, in .venvs/STACK

ifeq ($(NAMED),)
# On v2 without the tests that v1 has just run and that cannot tell the two apart (tests/core_tests.py).
test: ## all tests, of v1, v2 and, where a Python 3.8 is at hand, era; with STACK=, of that one
	@$(MAKE) --no-print-directory test STACK=v1
	@$(MAKE) --no-print-directory test STACK=v2 ONCE=--without-core
	@if bash scripts/setup_venv.sh era --can; then $(MAKE) --no-print-directory test STACK=era; \
	else echo "[era] no Python 3.8 at hand: the article's own stack was not tested"; fi
else
test: $(READY)
	$(PYTEST) $(ONCE) $(ARGS)
endif

quick: $(READY) ## the tests without the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

coverage: $(READY) ## which lines of the package the tests of STACK run; the total stands in the line TOTAL
	$(PYTEST) --cov --cov-report=term:skip-covered $(ARGS)

lint: $(DEV)/.ready ## ruff: its rules and its format
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/.ready .venvs/v2/.ready ## mypy over the package (without fastai1/) and over what a caller sees, tests/typing
	$(DEV)/bin/mypy --python-executable .venvs/v2/bin/python

dist: $(DEV)/.ready ## sdist and wheel, in dist/; the wheel tried in an empty environment
	bash scripts/check_build.sh $(DEV)/bin/python

parity: $(READY) ## the whole matrix of STACK, written to docs/evidence/parity.md
	$(ONE_THREAD) STACK=$(STACK) $(VENV)/bin/python -W ignore -m tests.parity.page

ifeq ($(STACK),v2)
models: $(READY) ## transformers' own models through both arms, written to docs/evidence/models.md; half an hour (v2 only)
	$(ONE_THREAD) $(VENV)/bin/python -W ignore -m tests.models.page
else
models:
	@echo "make models is for transformers' own models and needs STACK=v2, not $(STACK)" >&2; exit 2
endif

ifeq ($(STACK),v2)
today: $(READY) ## what people bring today (half precision, LoRA, own losses), written to docs/evidence/today.md; 20 minutes (v2 only)
	$(ONE_THREAD) $(VENV)/bin/python -W ignore -m tests.today.page $(ARGS)
else
today:
	@echo "make today is for transformers 5 and peft and needs STACK=v2, not $(STACK)" >&2; exit 2
endif

faults: $(READY) ## the doctor judged by every seeded fault and 320 healthy runs: docs/evidence/faults.md, docs/evidence/faults-fastai2.md
	$(ONE_THREAD) $(VENV)/bin/python -W ignore -m tests.faults.page \
		--out docs/evidence/faults$(if $(filter v2,$(STACK)),-fastai2).md $(ARGS)

reported: $(READY) ## the doctor judged by faults that people reported: docs/evidence/faults-reported.md (STACK=v2)
	$(ONE_THREAD) $(VENV)/bin/python -W ignore -m tests.faults.reported.page --out docs/evidence/faults-reported.md $(ARGS)

mutants: $(READY) ## deliberate breakages, each of which the tests must catch
	$(ONE_THREAD) $(VENV)/bin/python -W ignore -m tests.mutants

bench: ## speed and scale next to the peers, written to docs/evidence/benchmarks.md; ARGS="--only NAME"
	@bash benchmarks/environments.sh
	.venvs/v2/bin/python -W ignore benchmarks/run.py $(ARGS)

bench-gpu: ## the same on a GPU, BERT-base in bf16; skipped with a word where there is none
	@bash benchmarks/environments.sh
	.venvs/v2/bin/python -W ignore benchmarks/run.py --only gpu $(ARGS)

demo: $(READY) ## three arms of a tiny BERT side by side, then the doctor; offline
	@$(ONE_THREAD) $(VENV)/bin/fastai-hf demo

docs: .venvs/docs/.ready ## the documentation site, in docs/_build/html; a warning or a broken link is an error
	.venvs/docs/bin/sphinx-build -E -W --keep-going -n -q -b html docs docs/_build/html

notebooks: $(READY) .venvs/notebook-tools/.ready ## run the notebooks of STACK (v1 or v2) and store them
	PYTHONPATH=$(CURDIR):$(CURDIR)/.venvs/notebook-tools $(VENV)/bin/python scripts/notebooks.py $(STACK) $(ARGS)

clean: ## remove the environments, caches and builds
	rm -rf .venvs docs/_build build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venvs/%/.ready: pyproject.toml setup.py constraints/%.txt scripts/setup_venv.sh
	@bash scripts/setup_venv.sh $* $(if $(filter $(STACK),$*),$(PYTHON))

# Neither needs a fastai or a torch; the tools lie next to the stacks, not in them.
.venvs/docs/.ready: constraints/docs.txt
	rm -rf .venvs/docs && $(or $(PYTHON),python3) -m venv .venvs/docs
	.venvs/docs/bin/python -m pip install -qq --disable-pip-version-check -r constraints/docs.txt
	touch $@

.venvs/notebook-tools/.ready: constraints/docs.txt .venvs/docs/.ready
	rm -rf .venvs/notebook-tools
	.venvs/docs/bin/python -m pip install -qq --disable-pip-version-check --target .venvs/notebook-tools \
	  -c constraints/docs.txt ipykernel nbclient
	touch $@
