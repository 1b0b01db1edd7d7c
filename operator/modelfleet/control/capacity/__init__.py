"""The capacity loop, by what one look does.

Observe: sources and idle ask; look, observe, readings, targets, controls and bars make plain values of what they hear.
Decide: plan and budget, with the pure modelfleet.plan.
Act: act writes the decision, in the words of tier_status and cascade_status; notes keeps what was learned.
Show: metrics, plan_metrics, controls_metrics and budget_metrics.
loop joins it all, and memory is what the next look starts from.
"""
