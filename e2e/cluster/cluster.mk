# The local cluster.  KWOK=0 leaves the two pretended GPU nodes out; MODELFLEET_CLUSTER_STATE=DIR keeps it elsewhere.
CLUSTER := $(PY) -m e2e.cluster
KWOK ?= 1

cluster-up: venv ## start a real Kubernetes cluster on this machine (root; 10 s once everything is built)
	$(CLUSTER) up --detach $(if $(filter 1,$(KWOK)),--kwok)

cluster-down: venv ## end it; nothing of it stays
	$(CLUSTER) down

cluster-status: venv ## what runs in it
	$(CLUSTER) status

cluster-load: venv ## build the images again and give the running cluster those that changed
	$(CLUSTER) load

cluster-shell: venv ## a shell in its network, with kubectl and helm
	$(CLUSTER) shell

images: venv ## build the images that pods run
	$(CLUSTER) build images

.PHONY: cluster-up cluster-down cluster-status cluster-load cluster-shell images
