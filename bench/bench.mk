bench-operator: venv ## figures of the operator and the router: bench/out/operator.json (about 4 min)
	PYTHONPATH=operator:. $(PY) -m bench.operator
.PHONY: bench-operator
bench-router: venv ## the router beside nginx, Envoy, vllm-router and LiteLLM: bench/out/router.json (about 6 min)
	PYTHONPATH=operator:. $(PY) -m bench.router
.PHONY: bench-router
bench-capacity: venv ## the planner beside its peers on real traces (MODELFLEET_TRACES): bench/out/capacity.json (1 h, resumable)
	PYTHONPATH=operator:. $(PY) -m bench.capacity
.PHONY: bench-capacity
bench-capacity-quick: venv ## the same on synthetic loads, directions only (about 3 min)
	PYTHONPATH=operator:. $(PY) -m bench.capacity --quick
.PHONY: bench-capacity-quick
