bench-operator: venv ## figures of the operator and the router: bench/out/operator.json (about 4 min)
	PYTHONPATH=operator:. $(PY) -m bench.operator
.PHONY: bench-operator
