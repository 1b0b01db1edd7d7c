bench-operator: venv ## figures of the operator and the router: bench/out/operator.json (about 4 min)
	PYTHONPATH=operator:. $(PY) -m bench.operator
.PHONY: bench-operator
bench-router: venv ## the router beside nginx, Envoy, vllm-router and LiteLLM: bench/out/router.json (about 6 min)
	PYTHONPATH=operator:. $(PY) -m bench.router
.PHONY: bench-router
bench-logprobs: venv ## what log probabilities cost llama.cpp and vLLM, into bench/out/router.json (about 8 min)
	PYTHONPATH=operator:. $(PY) -m bench.logprobs
.PHONY: bench-logprobs
