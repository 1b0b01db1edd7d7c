"""ModelTiers that the API server takes or refuses, one story a row."""

from tests.api.specs import EXTERNAL, LLAMA, SCALED, SLEEPY, VLLM, changed, metric

ACCEPTED_TIERS = {
    "smallest llama.cpp tier": LLAMA,
    "smallest vLLM tier": VLLM,
    "smallest external tier": EXTERNAL,
    "an API with a rate": changed(
        changed(EXTERNAL, "external.requestsPerMinute", 600), "external.tokensPerMinute", 400000
    ),
    "a scaled tier": SCALED,
    "a tier that is planned with its Cascade": changed(SCALED, "scaling.metrics", None),
    "a planned tier with a profile": changed(SCALED, "scaling", {"maxReplicas": 4, "profile": "1.5b-h100"}),
    "a tier that sleeps": SLEEPY,
    "a tier that sleeps, all of it": changed(
        SLEEPY, "scaling.idle", {"after": "1h", "holdTimeout": "10m", "maxHeld": 0}
    ),
    "GGUF file in a repository": {
        "model": {"uri": "hf://QuantFactory/SmolLM2-GGUF", "file": "sub/q4.gguf"},
        "llamaCpp": {},
    },
    "GGUF file in a folder of a claim": {
        "model": {"uri": "pvc://models/a/b", "file": "q4.gguf"},
        "llamaCpp": {},
    },
    "a whole claim as the model of vLLM": {"model": {"uri": "pvc://models"}, "vllm": {}},
    "a private repository, cached, at a commit": changed(
        VLLM,
        "model",
        {
            "uri": "hf://Qwen/Qwen2.5-7B-Instruct",
            "revision": "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            "credentialsSecretRef": {"name": "hf", "key": "token"},
            "cacheClaim": "cache",
            "servedName": "Qwen/Qwen2.5-7B",
        },
    ),
    "a pool, resources and a suspended tier": VLLM
    | {
        "nodePool": {"name": "gpu-l4", "count": 2},
        "resources": {
            "requests": {"cpu": 2, "memory": "4Gi"},
            "limits": {"nvidia.com/gpu": "1", "cpu": "2500m"},
        },
        "suspend": True,
    },
    "arguments that are the user's": changed(
        VLLM, "vllm.args", ["--seed", "1", "--enforce-eager", "--dtype=half"]
    ),
    "a flag that begins like one of ours": changed(
        VLLM,
        "vllm.args",
        ["--model-impl", "vllm", "--config-format=hf", "--tokenizer-revision", "main", "--seed=-1"],
    ),
    "llama.cpp flags that begin like ours": changed(
        LLAMA,
        "llamaCpp.args",
        ["-ctk", "q8_0", "--threads-batch", "2", "-hfd", "x/y", "--cache-reuse", "256"],
    ),
    "an argument that holds JSON": changed(VLLM, "vllm.args", ["--hf-overrides", '{"a": "--port=1"}']),
    "environment that is the user's": changed(
        LLAMA, "llamaCpp.env", [{"name": "GGML_LOG", "value": "1"}, {"name": "OMP_NUM_THREADS", "value": "2"}]
    ),
    "a TTFT target": metric(type="TTFT", percentile=99, target="500ms"),
    "a fraction as a target": metric(type="Queue", target="0.5"),
    "tokens that cost something": EXTERNAL
    | {"price": {"inputPerMillionTokens": "0.15", "outputPerMillionTokens": "12"}},
    "tokens of our own that cost something": LLAMA
    | {"price": {"inputPerMillionTokens": "0", "outputPerMillionTokens": "0.000000001"}},
    "replicas that cost by the hour": LLAMA | {"price": {"perReplicaHour": "0.71"}},
    "tokens and replicas that cost": LLAMA
    | {
        "price": {
            "perReplicaHour": "0.71",
            "inputPerMillionTokens": "0",
            "outputPerMillionTokens": "0.1",
        }
    },
    "no replicas": LLAMA | {"replicas": 0},
    "requests that begin alike together": LLAMA
    | {"routing": {"strategy": "PrefixAffinity", "prefixCharacters": 512}},
    "routing as it is by default": LLAMA | {"routing": {}},
    "long and mixed durations": LLAMA | {"rollout": {"drainTimeout": "1h30m", "startupTimeout": "1.5h"}},
    "all of behavior": changed(
        SCALED,
        "scaling.behavior",
        {
            "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}], "tolerance": "0.2"},
            "scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 30},
        },
    ),
    "http to a Service": changed(EXTERNAL, "external.baseURL", "http://gpt.models.svc:8000/v1"),
    "http to a Service by its whole name": changed(
        EXTERNAL, "external.baseURL", "http://a.b.svc.cluster.local/v1"
    ),
    "http to a Service of the same namespace": changed(EXTERNAL, "external.baseURL", "http://gpt/v1"),
    "http to localhost": changed(EXTERNAL, "external.baseURL", "http://localhost:8080/v1"),
    "http to a private address": changed(EXTERNAL, "external.baseURL", "http://10.1.2.3:8080/v1"),
    "the last port": changed(EXTERNAL, "external.baseURL", "https://api-1.x.com.:65535/a/v1"),
    "https to an address": changed(EXTERNAL, "external.baseURL", "https://[2001:db8::1]:8443/v1"),
}

NOT_FOR_ARGS = "is not for args"
NOT_FOR_ENV = "not for env"
REJECTED_TIERS = {
    "an engine without a value": (LLAMA | {"llamaCpp": None}, "llamaCpp (llamaCpp: {} is enough)"),
    "no engine": (
        changed(LLAMA, "llamaCpp", None),
        "give exactly one engine: vllm, llamaCpp (llamaCpp: {} is enough)",
    ),
    "two engines": (LLAMA | {"vllm": {}}, "give exactly one engine"),
    "a price by half": (
        EXTERNAL | {"price": {"inputPerMillionTokens": "0.15"}},
        "give inputPerMillionTokens and outputPerMillionTokens together",
    ),
    "a price of nothing at all": (EXTERNAL | {"price": {}}, "or perReplicaHour, or leave price out"),
    "replicas of an API that cost": (
        EXTERNAL | {"price": {"perReplicaHour": "0.71"}},
        "an external tier has no replicas that cost",
    ),
    "an hour at a price of words": (
        LLAMA | {"price": {"perReplicaHour": "cheap"}},
        "must be US dollars as a decimal string",
    ),
    "a price with a sign": (
        EXTERNAL | {"price": {"inputPerMillionTokens": "$1", "outputPerMillionTokens": "1"}},
        "must be US dollars as a decimal string",
    ),
    "no model": (
        changed(LLAMA, "model", None),
        "give model.uri, such as hf://owner/repository or pvc://claim/path",
    ),
    "a model beside an external API": (
        EXTERNAL | {"model": {"uri": "hf://a/b"}},
        "names its model in external.model",
    ),
    "nodes for an external API": (EXTERNAL | {"nodePool": {"name": "cpu"}}, "an external tier has no pods"),
    "pods of an external API replaced": (
        EXTERNAL | {"rollout": {"drainTimeout": "5m"}},
        "an external tier has no pods",
    ),
    "a port that is none": (
        changed(EXTERNAL, "external.baseURL", "https://x.com:99999/v1"),
        "must be http(s)://host",
    ),
    "port zero": (changed(EXTERNAL, "external.baseURL", "https://x.com:0/v1"), "must be http(s)://host"),
    "a host with a hole": (
        changed(EXTERNAL, "external.baseURL", "https://x..com/v1"),
        "must be http(s)://host",
    ),
    "a host that is a dash": (
        changed(EXTERNAL, "external.baseURL", "https://-/v1"),
        "must be http(s)://host",
    ),
    "replicas of an external API": (EXTERNAL | {"replicas": 2}, "an external tier has no pods"),
    "unknown scheme": (
        changed(VLLM, "model.uri", "s3://b/m"),
        "must be hf://owner/repository or pvc://claim/path",
    ),
    "no scheme": (
        changed(VLLM, "model.uri", "Qwen/Qwen2.5"),
        "must be hf://owner/repository or pvc://claim/path",
    ),
    "a repository without owner": (changed(VLLM, "model.uri", "hf://gpt2"), "must be hf://owner/repository"),
    "a claim in upper case": (changed(VLLM, "model.uri", "pvc://Models/x"), "must be hf://owner/repository"),
    "out of the claim": (changed(VLLM, "model.uri", "pvc://models/../etc"), "must not hold . or .."),
    "out of the repository": (
        {"model": {"uri": "hf://a/b", "file": "../x.gguf"}, "llamaCpp": {}},
        "must be a path inside the source",
    ),
    "an absolute file": (
        {"model": {"uri": "hf://a/b", "file": "/x.gguf"}, "llamaCpp": {}},
        "without a leading /",
    ),
    "llama.cpp without a GGUF file": (changed(LLAMA, "model.uri", "hf://a/b"), "llamaCpp needs a GGUF file"),
    "llama.cpp with another file": (
        {"model": {"uri": "hf://a/b", "file": "model.safetensors"}, "llamaCpp": {}},
        "llamaCpp needs a GGUF file: set model.file to its path in the source, such as model-q4.gguf",
    ),
    "vLLM with a file": (changed(VLLM, "model.file", "x.gguf"), "model.file is for llamaCpp"),
    "the file named twice": (changed(LLAMA, "model.file", "x.gguf"), "uri already names the GGUF file"),
    "a revision in the repository": (
        changed(VLLM, "model.uri", "hf://a/b@main"),
        "a commit goes into revision",
    ),
    "a file in the repository": (changed(LLAMA, "model.uri", "hf://a/b/m.gguf"), "a file into file"),
    "a line break in a claim's path": (
        changed(VLLM, "model.uri", "pvc://c/a\nb"),
        "must be hf://owner/repository",
    ),
    "a line break in a file": (changed(LLAMA, "model.file", "a\nb.gguf"), "without wildcards"),
    "files by a wildcard": (changed(LLAMA, "model.file", "*.gguf"), "without wildcards"),
    "a revision out of the repository": (
        changed(VLLM, "model.revision", "a/../../b"),
        "must not hold .. in it",
    ),
    "a revision of a claim": (
        changed(LLAMA, "model.revision", "v2"),
        "are for hf:// sources: leave them out",
    ),
    "a cache for a claim": (changed(LLAMA, "model.cacheClaim", "c"), "are for hf:// sources: leave them out"),
    "a revision that is an option": (
        changed(VLLM, "model.revision", "--x"),
        "must be a branch, tag or commit",
    ),
    "a served name with a space": (changed(LLAMA, "model.servedName", "a b"), "must be letters, digits and"),
    "min above max": (changed(SCALED, "scaling.minReplicas", 9), "minReplicas must not be above maxReplicas"),
    "scaling to zero and not when": (
        changed(SCALED, "scaling.minReplicas", 0),
        "minReplicas 0 needs idle, which says when the last replica goes",
    ),
    "idle, and never at zero": (
        changed(SCALED, "scaling.idle", {"after": "30m"}),
        "idle is for tiers that may run nothing: set minReplicas to 0",
    ),
    "idle at once": (changed(SLEEPY, "scaling.idle.after", "0s"), "must be a duration above zero"),
    "idle holds less than nothing": (
        changed(SLEEPY, "scaling.idle.maxHeld", -1),
        "should be greater than or equal to 0",
    ),
    "an unknown metric type": (
        metric(type="CPU", target=1),
        'supported values: "TTFT", "ITL", "Concurrency", "Queue", "KVCache", "PromQL"',
    ),
    "one metric name twice": (
        changed(SCALED, "scaling.metrics", [{"name": "m", "type": "Queue", "target": 1}] * 2),
        "Duplicate value",
    ),
    "a number for TTFT": (metric(type="TTFT", target=500), "a duration above zero, such as 500ms"),
    "zero for TTFT": (metric(type="TTFT", target="0s"), "a duration above zero, such as 500ms"),
    "a duration for Queue": (
        metric(type="Queue", target="5s"),
        "must be a number above zero, such as 8 or '0.5'",
    ),
    "zero for Concurrency": (metric(type="Concurrency", target=0), "must be a number above zero"),
    "a negative target": (metric(type="Concurrency", target=-1), "must be a number above zero"),
    "a percentile of Queue": (
        metric(type="Queue", target=1, percentile=50),
        "percentile is for TTFT and ITL only",
    ),
    "negative replicas": (LLAMA | {"replicas": -1}, "should be greater than or equal to 0"),
    "no pod may be replaced": (LLAMA | {"rollout": {"maxSurge": 0}}, "must not both be 0"),
    "affinity of an external tier": (
        EXTERNAL | {"routing": {}},
        "an external tier has no replicas to choose from: remove routing",
    ),
    "a prefix for nothing": (
        LLAMA | {"routing": {"prefixCharacters": 64}},
        "prefixCharacters is for PrefixAffinity only",
    ),
    "an unknown strategy": (
        LLAMA | {"routing": {"strategy": "Random"}},
        'supported values: "LeastInFlight", "PrefixAffinity"',
    ),
    "no time to drain": (
        LLAMA | {"rollout": {"drainTimeout": "0s"}},
        "a duration above zero and at most 24h",
    ),
    "a negative duration": (LLAMA | {"rollout": {"drainTimeout": "-5s"}}, "such as 500ms, 30s, 2m or 1h30m"),
    "a duration without unit": (
        LLAMA | {"rollout": {"startupTimeout": "30"}},
        "such as 500ms, 30s, 2m or 1h30m",
    ),
    "a week to drain": (LLAMA | {"rollout": {"drainTimeout": "168h"}}, "at most 24h"),
    "http to a public host": (
        changed(EXTERNAL, "external.baseURL", "http://api.example.com/v1"),
        "must be https:// for a public host: prompts and the API key would travel in the clear",
    ),
    "http to a public host like a Service": (
        changed(EXTERNAL, "external.baseURL", "http://gpt.svc.example.com/v1"),
        "must be https:// for a public host",
    ),
    "http to a public address": (
        changed(EXTERNAL, "external.baseURL", "http://8.8.8.8/v1"),
        "must be https://",
    ),
    "http to an address as a number": (
        changed(EXTERNAL, "external.baseURL", "http://134744072/v1"),
        "must be https://",
    ),
    "another scheme": (
        changed(EXTERNAL, "external.baseURL", "ftp://example.com/v1"),
        "must be http(s)://host",
    ),
    "a rate of nothing": (changed(EXTERNAL, "external.requestsPerMinute", 0), "greater than or equal to 1"),
    "a password in the URL": (changed(EXTERNAL, "external.baseURL", "https://u:p@x.com/v1"), "without user"),
    "a query in the URL": (
        changed(EXTERNAL, "external.baseURL", "https://x.com/v1?k=1"),
        "without user, query",
    ),
    "a fragment in the URL": (changed(EXTERNAL, "external.baseURL", "https://x.com/v1#a"), "query, fragment"),
    "a slash at the end": (changed(EXTERNAL, "external.baseURL", "https://x.com/v1/"), "a / at the end"),
    "llama.cpp variables of flags": (
        changed(LLAMA, "llamaCpp.env", [{"name": "LLAMA_ARG_PORT", "value": "1"}]),
        "LLAMA_ARG_* and LLAMA_API_KEY are not for env: use the fields of spec.llamaCpp",
    ),
    "vLLM's API key": (changed(VLLM, "vllm.env", [{"name": "VLLM_API_KEY", "value": "x"}]), NOT_FOR_ENV),
    "one variable twice": (
        changed(VLLM, "vllm.env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        "Duplicate value",
    ),
    "a variable with a dash": (changed(VLLM, "vllm.env", [{"name": "A-B", "value": "1"}]), "must be letters"),
    "a model as an argument": (changed(VLLM, "vllm.args", ["other/model"]), "args start with a flag"),
    "no slots": (changed(LLAMA, "llamaCpp.slots", 0), "should be greater than or equal to 1"),
    "an image with a space": (changed(LLAMA, "llamaCpp.image", "a b"), "must be a container image"),
    "a negative amount": (
        LLAMA | {"resources": {"limits": {"cpu": "-1"}}},
        "must be a quantity of zero or more",
    ),
    "an amount in words": (LLAMA | {"resources": {"limits": {"memory": "4 GB"}}}, "such as 2, 500m or 4Gi"),
    "requests above limits": (
        LLAMA | {"resources": {"requests": {"cpu": 3}, "limits": {"cpu": "2500m"}}},
        "requests must not be above limits",
    ),
    "a pool in upper case": (LLAMA | {"nodePool": {"name": "GPU"}}, "must be lower case letters"),
    "a spelling mistake": (changed(LLAMA, "llamaCpp.slot", 4), 'unknown field "spec.llamaCpp.slot"'),
}

VLLM_SPELLINGS = (
    "--model", "--model=x", "--port", "--port=1", "--host", "--served-model-name", "--served_model_name=x",
    "--max-model-len=1", "--max_model_len", "--max-model", "--max-num-seqs", "--max-num-se=1", "--tensor-parallel-size",
    "--tensor_parallel_size=2", "--tensor-parallel", "--tensor_par=2", "-tp", "-tp=2", "--config", "--config=x.yaml",
    "--api-key", "--api_key=x", "--shutdown-timeout", "--revision=main", "--uds", "--root-path=/x", "--ssl-keyfile",
    "--headless", "--grpc", "--port 8001", "--model.x=1", "--config.port=1",
)  # fmt: skip
LLAMA_CPP_SPELLINGS = (
    "-m", "--model", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "--hf_repo", "-hff", "--hf-file", "-a", "--alias",
    "-c", "--ctx-size", "--ctx_size", "-np", "--parallel", "-t", "--threads", "--host", "--port", "--port=1",
    "--metrics", "--api-key", "--api_key_file", "--ssl-key-file", "--api-prefix", "-c 4096",
)  # fmt: skip
