# make demo: set up and paint a sample.  make test: set up and test.  make check: what CI runs.  More: CONTRIBUTING.md
PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := .venv/.demo
READY := .venv/.ready
# Every worker of the tests would compile all of them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-cluster test-others compiled test-all test-gpu types check format dist man docs styles gallery bench train clean

setup: $(READY)

# What the demo needs: the command line.
$(DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[cli]'
	touch $(DEMO)

# And the rest: every extra, and what the tests need.
$(READY): $(DEMO)
	$(PIP) --editable '.[dev]'
	touch $(READY)

demo: $(DEMO)
	$(BIN)/impasto demo

test: test-cluster test-others

# Ray has many processes of its own: beside all others they take six times as long.
test-cluster: $(READY)
	$(BIN)/python -m pytest tests/cluster

# Three workers on two cores: many tests wait for servers and browsers. The tests of a file share one studio.
# tests/conftest.py puts the longest files first.
test-others: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/cluster

types: $(READY)
	$(BIN)/mypy

# pytest compiles every test file: once, before the workers do so at the same time.
compiled: $(READY)
	$(BIN)/python -m pytest --collect-only -qq --ignore tests/cluster > .venv/.collected || { cat .venv/.collected; exit 1; }

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'slow or not slow'

# On a machine with a GPU that torch can use.
test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory --jobs 2 --output-sync test-cluster types compiled
	$(MAKE) --no-print-directory test-others

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The wheel and the source distribution, checked, into dist/; a release is made by .github/workflows/release.yml.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# A man page for every command, into man/.
man: $(READY)
	$(BIN)/python examples/man_pages.py

# The documents as a site, into site/; a warning, such as a dead link, is an error.
docs: $(READY)
	$(PIP) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# Draw the sample landscape, still life and styles again: half an hour.
styles: $(READY)
	$(BIN)/python examples/draw_scene.py
	$(BIN)/python examples/draw_still_life.py
	$(BIN)/python examples/draw_styles.py

# The pictures of the documents, into docs/gallery: minutes. With the pictures in ../shared, also the five pairs and their scores.
gallery: $(READY)
	$(BIN)/python examples/figures.py
	$(BIN)/python examples/how_it_works.py
	$(BIN)/python examples/controls.py
	$(BIN)/python examples/film.py
	$(BIN)/python examples/studio.py
	[ ! -d ../shared/images ] || { $(BIN)/python examples/gallery.py && $(BIN)/python examples/subject.py; }

# Measure speed, memory and solvers, into benchmarks/RESULTS.md: two hours; tables 2, 5, 6 and 10 need ../shared.
bench: $(READY)
	for each in startup evaluation memory solvers levels same_picture long_work spinning convolutions peers report; do $(BIN)/python benchmarks/$$each.py || exit 1; done

# Train the network in the package: about an hour on two cores; needs ../shared.
train: $(READY)
	$(BIN)/python training/train.py --corpus ../shared/corpus --out training/run --minutes 150

clean:
	rm -rf .venv build dist man site .mypy_cache .pytest_cache .ruff_cache
