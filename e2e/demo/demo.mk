demo: venv ## the whole product on a real cluster, before your eyes (KEEP=1 leaves it up)
	@PYTHONPATH=operator $(PY) -m e2e.demo

.PHONY: demo
