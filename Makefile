# Every target sets up .venv first, from the pins in requirements.lock, if that is needed.
# With a Python that is not called python3: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help lab test test-slow test-portable train pretrained export notebooks figures lint bench experiments site ledger lock clean

help:  ## Say what each target does
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@echo "Setting up $(VENV): about two minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

lab: $(READY)  ## Open JupyterLab at notebook 00
	$(RUN) -m jupyterlab notebooks/00_start_here.ipynb

test: $(READY)  ## Run every test and every notebook
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg

test-slow: $(READY)  ## Run every test in full: 20 kills, more examples (SEED=1: other kills)
	@echo "Kills at random moments, drawn from SEED=$${SEED:-0}"
	SLOW=1 OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile $$(grep -l '"SLOW" in' tests/test_*.py)

test-portable: $(READY)  ## Run notebooks and numeric tests as other processors compute
	$(RUN) tools/test_portable.py

train: $(READY)  ## Train a small ViT on the built-in images
	$(RUN) train.py

pretrained: $(READY)  ## Train the built-in weights again: two hours
	$(RUN) -m tools.make_pretrained

export: $(READY)  ## Write going_modular/ from the notebooks' marked cells
	$(RUN) tools/export_notebooks.py

notebooks: $(READY)  ## Run every notebook anew and store its outputs
	$(RUN) tools/run_notebooks.py

figures: $(READY)  ## Draw the pictures of README anew
	$(RUN) tools/make_figures.py
	$(RUN) -m tools.make_screenshots

bench: $(READY)  ## Run every benchmark: an hour; with PHOTOS=folder that of photos, too
	$(RUN) -m benchmarks.speed
	$(RUN) -m benchmarks.growth --output images/growth.png
	$(RUN) -m benchmarks.needs
	$(if $(PHOTOS),$(RUN) -m benchmarks.photos "$(PHOTOS)")
	$(RUN) -m benchmarks.recipes
	$(RUN) -m benchmarks.loading
	$(RUN) -m benchmarks.capturing
	$(RUN) -m benchmarks.trust --output images/trust.png
	$(RUN) -m benchmarks.explorer

site: $(READY)  ## Build the site into build/site: half a minute
	$(RUN) -m tools.make_site

ledger: $(READY)  ## Write docs/ledger.md anew, from the tests and the tables
	$(RUN) -m tools.make_ledger

experiments: $(READY)  ## Run the paper's studies at small scale: hours; a stopped one goes on
	$(RUN) -m experiments

lint: $(READY)  ## Check style, in notebooks too
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) tools/check_files.py

lock:  ## Pin what pyproject.toml asks for, with hashes (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes --output-file requirements.lock --quiet

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
