"""Cascades that the API server takes or refuses, one story a row."""

from tests.api.specs import CASCADE, TIERS, changed, judged, shares, unbarred, weights

ACCEPTED_CASCADES = {
    "overflow with every default": weights(None, None) | {"overflow": {}},
    "overflow of errors, all of them": weights(None, None)
    | {"overflow": {"when": ["Error"], "maxShare": 100}},
    "smallest cascade": changed(CASCADE, "tiers", TIERS[:1]),
    "one objective": CASCADE | {"slo": {"itlP95": "50ms"}},
    "both objectives": CASCADE | {"slo": {"ttftP95": "800ms", "itlP95": "50ms"}},
    "two tiers": CASCADE,
    "a name with a slash": CASCADE | {"modelName": "meta-llama/Llama-3.1-8B"},
    "relative weights": weights({"initial": 3}, {"initial": 1}, {"initial": 0, "max": 10}),
    "a weight on one tier only": weights({"initial": 100, "min": 50}, None),
    "shares of 70, 25 and 5": shares(70, 25, 5),
    "a share on one tier only": shares(70, None),
    "fixed weights": CASCADE | {"weights": {"mode": "Fixed"}},
    "answers that are judged": judged("-0.48"),
    "a threshold for the operator to choose": unbarred(70, None, None),
    "a threshold by what a later tier should answer": unbarred(None, None, 5),
    "thresholds of all tiers for the operator to choose": unbarred(70, 25, 5, judging=2),
    "nothing but certainty": judged("0", signal="LowQuantileLogprob"),
    "answers that are judged and sent": judged("-12", signal="AnswerLogprob")
    | {"weights": {"mode": "Observe"}},
    "a longer hold": judged("-1.5") | {"stream": {"holdBackTokens": 48, "holdBackTime": "1s"}},
    "a limit on cost": CASCADE | {"limits": {"maxCostPerRequest": "0.05"}},
    "a budget": CASCADE | {"budget": {"window": "Day", "maxUSD": "50"}},
    "a budget of cents that ends in refusals": CASCADE
    | {"budget": {"window": "Hour", "maxUSD": "0.01", "onExhausted": "Reject"}},
    "requests that choose their tier": CASCADE | {"clientChoice": ["Tier", "MinTier"]},
    "data that stays inside": CASCADE | {"dataPolicy": {"localOnly": ["private"]}},
    "data that stays inside, all but the public": CASCADE | {"dataPolicy": {"allowed": ["public"]}},
    "all of a data policy": CASCADE
    | {
        "dataPolicy": {
            "header": "X-Data-Class",
            "localOnly": ["private", "gdpr.art-9"],
            "allowed": ["public"],
            "unknown": "Reject",
        }
    },
    "a data policy that says nothing": CASCADE | {"dataPolicy": {}},
    "no escalation": CASCADE | {"limits": {"maxEscalations": 0}},
    "a dedicated router": CASCADE
    | {"router": {"dedicated": {"replicas": 3, "resources": {"requests": {"cpu": "1"}}}}},
    "limits": CASCADE | {"limits": {"deadline": "10m", "maxBodyBytes": 1048576}},
}

REJECTED_CASCADES = {
    "objectives without any": (
        CASCADE | {"slo": {}},
        "give at least one objective: ttftP95, such as 800ms, or itlP95, such as 50ms",
    ),
    "an objective that is no time": (
        CASCADE | {"slo": {"ttftP95": "fast"}},
        "must be a duration above zero and at most 24h, such as 500ms",
    ),
    "overflow with nowhere to go": (
        {**weights(None), "overflow": {}},
        "overflow needs a second tier: there is none to move on to",
    ),
    "overflow for no cause": (
        weights(None, None) | {"overflow": {"when": []}},
        "should have at least 1 items",
    ),
    "overflow for one cause twice": (
        weights(None, None) | {"overflow": {"when": ["Cold", "Cold"]}},
        "name each cause once",
    ),
    "overflow for a cause that does not exist": (
        weights(None, None) | {"overflow": {"when": ["Slow"]}},
        'supported values: "Cold", "Saturated", "Error"',
    ),
    "an overflow of nothing": (weights(None, None) | {"overflow": {"maxShare": 0}}, "equal to 1"),
    "an overflow of more than all": (weights(None, None) | {"overflow": {"maxShare": 101}}, "equal to 100"),
    "no tiers": (CASCADE | {"tiers": []}, "should have at least 1 items"),
    "no threshold and no share to choose it by": (
        unbarred(None, None, None),
        'accept needs threshold, such as "-0.48", or targetShare on its tier or a later one',
    ),
    "no threshold, and only an earlier tier has a share": (
        unbarred(70, None, None, judging=2),
        'accept needs threshold, such as "-0.48", or targetShare on its tier or a later one',
    ),
    "a threshold as a percentage": (judged("60"), "must be a decimal string of 0 or less"),
    "a threshold that is no number": (judged("-.5"), "must be a decimal string of 0 or less"),
    "a signal that does not exist": (judged("-1", signal="Vibes"), "Unsupported value"),
    "a last tier that would move on": (judged("-1", last=True), "there is no tier to move on to"),
    "an only tier that would move on": (
        {**judged("-1"), "tiers": judged("-1")["tiers"][:1]},
        "there is no tier to move on to",
    ),
    "holding back nothing": (judged("-1") | {"stream": {"holdBackTokens": 0}}, "greater than or equal to 1"),
    "a budget of nothing": (
        CASCADE | {"budget": {"window": "Day", "maxUSD": "0.0"}},
        "must be above 0; leave budget out for no limit",
    ),
    "a budget in words": (
        CASCADE | {"budget": {"window": "Day", "maxUSD": "50 USD"}},
        'must be US dollars as a decimal string, such as "0.15"',
    ),
    "a budget as a number": (
        CASCADE | {"budget": {"window": "Day", "maxUSD": 50}},
        "spec.budget.maxUSD in body must be of type string",
    ),
    "a budget for how long": (CASCADE | {"budget": {"maxUSD": "50"}}, "spec.budget.window: Required value"),
    "a budget of nobody knows how much": (
        CASCADE | {"budget": {"window": "Day"}},
        "spec.budget.maxUSD: Required value",
    ),
    "a budget for a week": (
        CASCADE | {"budget": {"window": "Week", "maxUSD": "50"}},
        'supported values: "Hour", "Day", "Month"',
    ),
    "a budget whose end nobody knows": (
        CASCADE | {"budget": {"window": "Day", "maxUSD": "50", "onExhausted": "Pray"}},
        'supported values: "StopEscalating", "SkipTier", "Reject"',
    ),
    "a limit on cost of nothing": (CASCADE | {"limits": {"maxCostPerRequest": "0.00"}}, "must be above 0"),
    "a limit on cost in cents": (
        CASCADE | {"limits": {"maxCostPerRequest": "5ct"}},
        "must be US dollars as a decimal string",
    ),
    "a choice that does not exist": (CASCADE | {"clientChoice": ["Model"]}, "Unsupported value"),
    "a choice made twice": (CASCADE | {"clientChoice": ["Tier", "Tier"]}, "Duplicate value"),
    "a class that is inside and outside": (
        CASCADE | {"dataPolicy": {"localOnly": ["a", "b"], "allowed": ["c", "b"]}},
        "either in localOnly or in allowed",
    ),
    "a data policy that keeps nothing inside": (
        CASCADE | {"dataPolicy": {"unknown": "Allow"}},
        "this policy keeps nothing inside",
    ),
    "a class in capitals": (
        CASCADE | {"dataPolicy": {"localOnly": ["Private"]}},
        "must be lower case letters",
    ),
    "a header that engines get to see": (
        CASCADE | {"dataPolicy": {"header": "User-Agent"}},
        "must be a header of its own",
    ),
    "a header that is none": (CASCADE | {"dataPolicy": {"header": "x class"}}, "must be a header name"),
    "nine tiers": (weights(*[None] * 9), "must have at most 8 items"),
    "no model name": (changed(CASCADE, "modelName", None), "spec.modelName: Required value"),
    "a model name with a space": (
        CASCADE | {"modelName": "my model"},
        "must be letters, digits and . _ : / @ + -",
    ),
    "one step name twice": (CASCADE | {"tiers": [TIERS[0], TIERS[0]]}, "Duplicate value"),
    "a step without tierRef": (CASCADE | {"tiers": [{"name": "a"}]}, "spec.tiers[0].tierRef: Required value"),
    "a negative weight": (weights({"initial": -1}, {"initial": 2}), "should be greater than or equal to 0"),
    "all weights zero": (
        weights({"initial": 0}, {"initial": 0}),
        "give at least one tier a weight.initial above 0",
    ),
    "min weight above max": (
        weights({"initial": 1, "min": 50, "max": 10}, None),
        "min must not be above max",
    ),
    "min weights above the whole": (
        weights({"initial": 1, "min": 60}, {"initial": 1, "min": 50}),
        "must not add up to more than 100 percent",
    ),
    "max weights below the whole": (
        weights({"initial": 1, "max": 60}, {"initial": 1, "max": 30}),
        "must add up to 100 percent or more: some requests could start nowhere",
    ),
    "shares above the whole": (shares(70, 40), "must add up to 100 percent"),
    "shares below the whole": (shares(70, 20), "must add up to 100 percent"),
    "no time for a tier": (changed(CASCADE, "tiers.0.timeout", "0s"), "a duration above zero"),
    "no time for a request": (CASCADE | {"limits": {"deadline": "0ms"}}, "a duration above zero"),
    "an interval in words": (CASCADE | {"weights": {"interval": "soon"}}, "such as 500ms, 30s"),
    "a step of nothing": (CASCADE | {"weights": {"maxStep": 0}}, "should be greater than or equal to 1"),
    "an unknown mode": (CASCADE | {"weights": {"mode": "Guess"}}, 'supported values: "Auto", "Fixed"'),
    "a body of no bytes": (
        CASCADE | {"limits": {"maxBodyBytes": 0}},
        "should be greater than or equal to 1024",
    ),
    "no router pods": (
        CASCADE | {"router": {"dedicated": {"replicas": 0}}},
        "should be greater than or equal to 1",
    ),
}
