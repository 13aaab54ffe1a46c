# make demo: set up and paint a sample.  make test: set up and test.  make check: what CI runs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-all check format styles gallery bench train clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cluster,dev,heif,video,web]'
	touch $(READY)

demo: $(READY)
	$(BIN)/impasto demo

# Four workers on two cores: much of it waits for servers and browsers. A file's tests share its studio.
test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist loadfile

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow'

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory test

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Draw the sample styles anew.
styles: $(READY)
	$(BIN)/python examples/draw_styles.py

# One of each figure for docs/gallery: minutes. With the pictures in ../shared, also the five pairs and their scores.
gallery: $(READY)
	$(BIN)/python examples/figures.py
	$(BIN)/python examples/controls.py
	$(BIN)/python examples/studio.py
	[ ! -d ../shared/images ] || $(BIN)/python examples/gallery.py

# Measure speed, memory and solvers anew, into benchmarks/RESULTS.md: two hours; table 2 needs ../shared.
bench: $(READY)
	for each in startup evaluation memory solvers levels same_picture long_work spinning report; do $(BIN)/python benchmarks/$$each.py || exit 1; done

# Train the network in the package anew: about an hour on two cores; needs ../shared.
train: $(READY)
	$(BIN)/python training/train.py --shared ../shared --out training/run

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
