"""From one frozen snapshot of the fleet to replicas and weights, each with its reason.  Pure: no I/O, no clock.

fleet is where it begins: every tier and every Cascade of one snapshot.

What is known   snapshot, load, buckets, asked, targets, starts, sources
Tiers           rules for those with metrics of their own, with scale and behavior; controls, schedule and pools bind all
Weights         weights, shares, share_out, thresholds
Cascades        planner for those with an slo, one group at a time (group, demand, look): forecast and margin say how
                much comes, engine, profiles, sizing, bias, fill, misses and floor what a replica carries, joint what
                is cheapest, outage and rails what may be done now; publish and balance are for routers
Budgets         prices, spending, within_budget
For people      facts, service_level, record, what_if, alternatives; learned outlives the operator
"""
