# make lab         open the course in JupyterLab               (ARGS="--no-browser" is handed to Jupyter)
# make test        everything that must hold: style, unit tests, stamps, every notebook
# make notebooks   build and run the notebooks from notebooks/source
# make models      train the shipped models again, each stage once; two at a time, which is faster on two cores:
#                  OMP_NUM_THREADS=1 make -j2 models
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

# A stage that is done leaves runs/made/<stage> and is skipped: touch that file to skip a stage, remove it to run the stage
# again, and with it the checkpoint in runs/ to train it anew.  One that was stopped goes on from its checkpoint;
# runs/made/log says when each ran, and data/bench/models.md for how long.  Those that others wait for come first, since
# make -j takes them in this order; below, each names those that it starts from.
MADE = runs/made
STAGES = tokenizer autoencoder text_encoder parser lm composer diagrams clip text_to_image captioner newcomers upscaler \
    style loras new_thing mockups

models: $(STAGES:%=$(MADE)/%)
	@$(RUN) scripts/time_models.py

$(STAGES:%=$(MADE)/%): $(MADE)/%: | $(READY)
	@mkdir -p $(MADE) && date "+%F %T  $* begins" >> $(MADE)/log
	trap : INT TERM; $(RUN) scripts/train_$*.py || { date "+%F %T  $* stopped" >> $(MADE)/log; exit 1; }
	@date "+%F %T  $* is done" >> $(MADE)/log && touch $@

$(MADE)/text_encoder $(MADE)/clip $(MADE)/lm: | $(MADE)/tokenizer
$(MADE)/text_to_image: | $(MADE)/autoencoder $(MADE)/text_encoder
$(MADE)/upscaler $(MADE)/newcomers $(MADE)/mockups: | $(MADE)/text_to_image $(MADE)/parser
$(MADE)/captioner: | $(MADE)/clip $(MADE)/lm
$(MADE)/loras $(MADE)/new_thing: | $(MADE)/newcomers
$(MADE)/style: | $(MADE)/newcomers $(MADE)/captioner
$(MADE)/diagrams: | $(MADE)/lm

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
