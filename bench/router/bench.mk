bench-router: venv ## the router beside nginx, Envoy, vllm-router and LiteLLM: bench/out/router.json (about 6 min)
	PYTHONPATH=operator:. $(PY) -m bench.router
.PHONY: bench-router
