# make lab         open the course in JupyterLab               (ARGS="--no-browser" is handed to Jupyter)
# make test        everything that must hold: style, unit tests, stamps, every notebook
# make notebooks   build and run the notebooks from notebooks/source
# make models      train the shipped models again
# make evaluate    measure the shipped models; writes data/models/SCORES.md
# make bench       run the benchmarks
# make lock        write requirements.lock again, from the ranges in pyproject.toml
#
# Each target makes .venv the first time.  PYTHON=python3.12 chooses another Python, PIP_ARGS="..." is handed to pip.

PYTHON ?= python3
ARGS ?=
PIP_ARGS ?=

PIP = -m pip --disable-pip-version-check
RUN = .venv/bin/python
READY = .venv/.installed
FIRST = notebooks/01.1_words_to_picture.ipynb

.PHONY: lab test notebooks models evaluate bench lock

lab: $(READY)
	$(RUN) -m jupyterlab $(ARGS) $(FIRST)

test: $(READY)
	$(RUN) -m ruff check .
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 tests
	$(RUN) scripts/build_notebooks.py --check
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --nbmake notebooks

notebooks: $(READY)
	$(RUN) scripts/build_notebooks.py

models: $(READY)
	$(RUN) scripts/train_tokenizer.py
	$(RUN) scripts/train_parser.py
	$(RUN) scripts/train_autoencoder.py
	$(RUN) scripts/train_text_encoder.py
	$(RUN) scripts/train_text_to_image.py
	$(RUN) scripts/train_upscaler.py
	$(RUN) scripts/train_clip.py
	$(RUN) scripts/train_lm.py
	$(RUN) scripts/train_captioner.py
	$(RUN) scripts/train_newcomers.py
	$(RUN) scripts/train_loras.py
	$(RUN) scripts/train_new_thing.py
	$(RUN) scripts/train_mockups.py
	$(RUN) scripts/train_style.py
	$(RUN) scripts/train_composer.py
	$(RUN) scripts/train_diagrams.py

evaluate: $(READY)
	$(RUN) scripts/evaluate.py

bench: $(READY)
	set -e; for script in $(sort $(wildcard scripts/bench_*.py)); do $(RUN) $$script; done

# A .venv made by hand is kept; one without pip is repaired.
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	    { echo "$(PYTHON) was not found; run: sudo apt install $(notdir $(PYTHON) $(PYTHON))-venv" >&2; exit 1; }
	@$(PYTHON) scripts/check_environment.py
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(RUN) $(PIP) install $(PIP_ARGS) -r requirements.lock
	$(RUN) $(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Without the builds for one processor (+cpu) and the libraries that only NVIDIA's need, the lock serves every machine.
lock:
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python $(PIP) install $(PIP_ARGS) setuptools ".[dev]"
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude aigc-course \
	    | sed -E -e '/^(nvidia-|cuda-|triton=)/d' -e 's/\+cpu$$//' \
	        -e 's/^(pexpect|ptyprocess)=.*/&; sys_platform != "win32"/' > build/requirements.lock
	mv build/requirements.lock requirements.lock
