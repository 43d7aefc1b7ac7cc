# Every target does its own set-up: `.venv` with exactly the packages of requirements.lock.txt, once per lock.
#
#   make reproduce                              all notebooks at smoke scale
#   make reproduce PAPER=ft_sam SCALE=laptop    one paper on real images
#   make reproduce SCALE=laptop RECORDED=1      drawn from the results in git, nothing is computed
#   make test                                   formatting, lint, types, tests, notebooks
#   make test-faults                            the long tests of faults: killed, full, damaged, racing, threads (minutes)
#   make matrix                                 a part of the tests with the oldest and newest torch, Python 3.11 to 3.13 (uv)
#   make book                                   the book as a site, from what is stored in git, in build/book/site
#   make lab                                    JupyterLab
#   make notebooks SCALE=laptop                 execute the notebooks in place: the outputs that are stored in git
#                                               (RECORDED=1: from the results in git, NOTEBOOKS=notebooks/02_sau.ipynb: only some)
#   make reproduce SCALE=laptop RECORD=1        as above, into the results and figures that are stored in git
#   make lock                                   write requirements.lock.txt anew (UPGRADE=1: with newer versions)
#   make clean                                  remove .venv and what was generated; data and finished runs stay
#
# Also: SEED=1, DEVICE=cpu, OUT=folder. Everything lands in build/, which git ignores; only `make notebooks`, `make lock` and
# RECORD=1 change files that are stored in git.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# Runs and notebooks work side by side, a process for each core. A second thread in each waits, spinning, most of the time: the
# recorded book took 128 to 159 s on two cores with two, and takes 63 to 67 s with one. Other machines: make ... OMP_NUM_THREADS=8
OMP_NUM_THREADS ?= 1
ifneq ($(filter laptop gpu paper,$(SCALE)),)
# glibc keeps what training frees and allocates again at every step: 7 % less processor time, 2 % more memory
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
export MALLOC_MMAP_THRESHOLD_ ?= 1073741824
endif
MKL_NUM_THREADS ?= $(OMP_NUM_THREADS)
UV_HTTP_TIMEOUT ?= 300
export OMP_NUM_THREADS MKL_NUM_THREADS UV_HTTP_TIMEOUT
RECORDING := PAPERLIB_FIGURES=$(CURDIR)/figures

# uv on the path, else in $(PYTHON), else in an environment of its own, which leaves $(PYTHON) as it is.
FIND_UV = \
	if uv --version >/dev/null 2>&1; then uv=uv; \
	elif $(PYTHON) -m uv --version >/dev/null 2>&1; then uv="$(PYTHON) -m uv"; \
	else \
		uv=build/uv/bin/uv; \
		$$uv --version >/dev/null 2>&1 || { \
			echo "Installing uv into build/uv"; \
			$(PYTHON) -m venv --clear build/uv && build/uv/bin/python -m pip install --quiet uv || { \
				echo "uv is missing and could not be installed; install it (pip install uv) and try again." >&2; exit 1; }; }; \
	fi

.PHONY: reproduce test test-faults matrix book lab notebooks lock clean setup
.DEFAULT_GOAL := reproduce

setup: $(STAMP)

$(STAMP): requirements.lock.txt pyproject.toml
	@$(FIND_UV); set -e; \
	test -x $(BIN)/python || { echo "Making .venv"; $$uv venv --quiet .venv; }; \
	export VIRTUAL_ENV=.venv; \
	echo "Installing the packages of requirements.lock.txt (about 6 GB on disk with CUDA, the first time a while)"; \
	$$uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock.txt; \
	$$uv pip install --quiet --no-deps --editable .
	@touch $@

reproduce: $(STAMP)
	@$(if $(filter-out 0,$(RECORD)),$(RECORDING)) $(BIN)/paperlib reproduce $(PAPER) $(if $(SCALE),--scale $(SCALE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(DEVICE),--device $(DEVICE)) $(if $(OUT),--out $(OUT)) $(if $(filter-out 0,$(RECORDED)),--recorded)

# The tests and the notebooks share one temporary store, so that every model is trained once, and nobody's cache is touched.
# Two files or notebooks at a time (one thread each, as above), the notebooks first, because they take longest, and the types
# beside them; JOBS=0: one after the other, in this process. Ray's tests go first and alone: a node of theirs has 30 s to start,
# whatever runs beside it.
JOBS ?= 2
test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@set -e; folder=$$(mktemp -d); trap 'kill $$types 2>/dev/null || :; rm -rf "$$folder"' EXIT; trap 'exit 130' INT TERM; types=; \
	export JUPYTER_DEFAULT_PROVISIONER_NAME=paperlib-warm PAPERLIB_TEST_FOLDER=$$folder PAPERLIB_SCALE=smoke \
		PAPERLIB_STORE=$$folder/runs PAPERLIB_FIGURES=$$folder/figures; \
	echo "pytest tests/lab/test_cluster.py"; $(BIN)/python -m pytest -v tests/lab/test_cluster.py; \
	$(BIN)/mypy >$$folder/mypy.txt 2>&1 & types=$$!; \
	echo "pytest --nbval-lax notebooks tests"; \
	$(BIN)/python -m pytest -v -n $(JOBS) --dist loadfile --durations=10 --nbval-lax --nbval-current-env --nbval-cell-timeout=600 \
		notebooks tests --ignore=tests/lab/test_cluster.py; \
	echo mypy; wait $$types || failed=$$?; cat $$folder/mypy.txt; exit $${failed:-0}

test-faults: $(STAMP)
	$(BIN)/python -m pytest -v -n $(JOBS) --dist load --maxschedchunk=1 -m long tests/faults

matrix:
	tests/matrix.sh

book: $(STAMP)
	$(BIN)/python docs/book/build.py

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir=notebooks

# Without parameters, so that nothing is injected, and without times, which would change the files at every run.
notebooks: $(STAMP)
	$(RECORDING) PAPERLIB_SCALE=$(or $(SCALE),laptop) PAPERLIB_RECORDED=$(or $(RECORDED),0) $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.timeout=-1 $(or $(NOTEBOOKS),notebooks/*.ipynb)

lock:
	@$(FIND_UV); $$uv pip compile pyproject.toml --universal --extra book --extra fairness --extra cluster --extra vdc --extra vlm --extra test --generate-hashes --no-header \
		$(if $(UPGRADE),--upgrade) --quiet --output-file requirements.lock.txt

clean:
	rm -rf .venv build dist figures/smoke .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
