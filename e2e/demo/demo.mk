demo: venv ## the whole product on a real cluster, before your eyes (KEEP=1 leaves it up)
	@PYTHONPATH=operator:. $(PY) -m e2e.demo

test-e2e: venv ## the scenarios on the local cluster (about 10 min)
	$(VENV)/bin/pytest -m "not slow" e2e/scenarios

test-capacity: venv ## long scenarios of scaling on the local cluster, a real HPA beside us (about 25 min)
	$(VENV)/bin/pytest -s -m slow e2e/scenarios/test_capacity.py e2e/scenarios/test_capacity_long.py e2e/scenarios/test_shares.py

.PHONY: demo test-e2e test-capacity
