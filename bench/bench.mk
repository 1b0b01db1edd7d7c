bench-operator: venv ## figures of the operator and the router: bench/out/operator.json (about 4 min)
	PYTHONPATH=operator:. $(PY) -m bench.operator
.PHONY: bench-operator
bench-router: venv ## the router beside nginx, Envoy, vllm-router and LiteLLM: bench/out/router.json (about 6 min)
	PYTHONPATH=operator:. $(PY) -m bench.router
.PHONY: bench-router
bench-load: venv ## the router under overload, 10,000 streams, slow clients and change: bench/out/dataplane-load.json (about 10 min)
	PYTHONPATH=operator:. $(PY) -m bench.load
.PHONY: bench-load
# Not compiled: that would take longer than the test, and what must be zero is zero either way.
test-load: venv ## the same in under 3 min; fails when a request fails that must not
	BENCH_ROUTER_SOURCE=$(CURDIR)/operator PYTHONPATH=operator:. $(PY) -m bench.load --short
.PHONY: test-load
bench-logprobs: venv ## what log probabilities cost llama.cpp and vLLM, into bench/out/router.json (about 8 min)
	PYTHONPATH=operator:. $(PY) -m bench.logprobs
.PHONY: bench-logprobs
bench-capacity: venv ## the planner beside its peers on real traces (MODELFLEET_TRACES): bench/out/capacity.json (1 h, resumable)
	PYTHONPATH=operator:. $(PY) -m bench.capacity
.PHONY: bench-capacity
bench-capacity-quick: venv ## the same on synthetic loads, directions only (about 1 min)
	PYTHONPATH=operator:. $(PY) -m bench.capacity --quick
.PHONY: bench-capacity-quick
# Not compiled: an engine takes a thousand times what the router does.
bench-affinity: venv ## prefix affinity before three real llama.cpp servers: bench/out/affinity.json (about 3 min)
	BENCH_ROUTER_SOURCE=$(CURDIR)/operator PYTHONPATH=operator:. $(PY) -m bench.affinity
.PHONY: bench-affinity
