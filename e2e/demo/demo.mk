demo: venv ## the whole product on a real cluster, before your eyes (KEEP=1 leaves it up)
	@PYTHONPATH=operator:. $(PY) -m e2e.demo

test-e2e: venv ## the scenarios on the local cluster (about 10 min)
	$(VENV)/bin/pytest e2e/scenarios

.PHONY: demo test-e2e
