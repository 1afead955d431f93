# `make setup` builds .venv; every other target needs nothing else. A bare Debian needs python3 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
TEST_SECONDS ?= 2400
WORKERS ?= 2
MACHINE ?=
CODE := src tests scripts examples benchmarks

.PHONY: fuzz setup system test check lint types arrows format demo demo-vad coverage conformance screenshot performance-cpu clean

setup: $(STAMP)

system:
	@bash scripts/system_packages.sh

# pip, not uv: pip honours the index and links configured on the machine, so a CPU build of torch is found.
$(STAMP): pyproject.toml scripts/system_packages.sh
	@bash scripts/system_packages.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[torch,test]"
	# For its TorchScript file; what it depends on (torchaudio, onnxruntime) is not needed here.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps silero-vad==6.2.3
	# The reference of the wake word pipeline; of what it imports, onnxruntime is all that it runs on.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps openwakeword==0.6.0
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))

types: $(STAMP)
	$(BIN)/mypy

arrows: $(STAMP)
	$(BIN)/python scripts/check_imports.py

check: lint types arrows

# Each folder of tests/ has its own budget (pyproject.toml); the limit here is for all of them.
test: check
	P2M_ENFORCE_BUDGETS=1 timeout --kill-after=30 $(TEST_SECONDS) $(BIN)/pytest -q -n $(WORKERS) --dist loadfile

format: $(STAMP)
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

# torch's whole operator table and every architecture through the conversion, and docs/coverage.md
# from the records; about an hour.
conformance: $(STAMP)
	$(BIN)/python scripts/conformance.py

# Names, graphs, foreign files and killed runs far beyond what `make test` draws, then both importers
# guided by coverage (from the corpus in fuzz/, which grows); MINUTES is a limit for each of the three.
MINUTES ?= 30
fuzz: $(STAMP)
	P2M_FUZZ_NAMES=300 P2M_FUZZ_GRAPHS=500 P2M_FUZZ_MODELS=20000 P2M_FUZZ_SCRIPTS=2000 P2M_KILLS=60 \
		timeout --kill-after=30 $(MINUTES)m $(BIN)/pytest -q -x tests/hostile
	$(BIN)/python tests/hostile/fuzz.py --seconds $$(($(MINUTES) * 60)) onnx torchscript

demo: $(STAMP)
	$(BIN)/python examples/demo.py

demo-vad: $(STAMP)
	$(BIN)/python examples/demo_vad.py

# docs/coverage.md, from the registry itself.
coverage: $(STAMP)
	$(BIN)/python -m pytorch_to_mlx coverage --markdown > docs/coverage.md.new
	@mv docs/coverage.md.new docs/coverage.md

# The rows of docs/performance.md for this machine's CPU, which nothing else should keep busy.
performance-cpu: $(STAMP)
	$(BIN)/python -m benchmarks.run --preset cpu --out benchmarks/results/cpu.json --machine "$(MACHINE)"
	$(BIN)/python -m benchmarks.llama_conversion --out benchmarks/results/llama-conversion.json --machine "$(MACHINE)"
	$(BIN)/python -m benchmarks.variants --small --out benchmarks/results/cpu-variants.json
	$(BIN)/python benchmarks/table.py

screenshot: $(STAMP)
	@bash scripts/screenshot.sh $(REPORT) $(SHOT)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
