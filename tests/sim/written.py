"""A Cascade and its tiers as a user writes them."""

TIERS = """
kind: ModelTier
metadata: {name: llama-8b, annotations: {modelfleet.dev/profile: 8b-h100}}
spec:
  model: {uri: "hf://o/m"}
  vllm: {}
  replicas: 2
  scaling: {minReplicas: 1, maxReplicas: 6, metrics: [{name: busy, type: Concurrency, target: 64}]}
---
kind: ModelTier
metadata: {name: llama-70b, annotations: {modelfleet.dev/profile: 70b-h100-tp4}}
spec: {model: {uri: "hf://o/m"}, vllm: {}, nodePool: {name: h100, count: 4}, replicas: 3}
"""
CASCADE = """
kind: Cascade
metadata: {name: chat}
spec:
  modelName: chat
  tiers:
  - {name: small, tierRef: {name: llama-8b}, weight: {initial: 3}, accept: {signal: MeanLogprob, threshold: "-0.5"}}
  - {name: big, tierRef: {name: llama-70b}, weight: {initial: 1}, targetShare: 30}
"""
