"""What users write into spec.scaling, taken or refused, one story a row."""

from typing import Any

from tests.api.specs import SCALED, VLLM, changed, metric

KV_CACHE = {"name": "kv", "type": "KVCache", "target": 80}


def schedules(*each: dict[str, Any]) -> dict[str, Any]:
    calm = {"cron": "0 8 * * 1-5", "duration": "10h", "timeZone": "Europe/Zurich", "minReplicas": 3}
    return changed(SCALED, "scaling.schedules", [{**calm, **changes} for changes in each])


def cron(text: str) -> dict[str, Any]:
    return schedules({"cron": text})


def fallback(**of: Any) -> dict[str, Any]:
    return changed(SCALED, "scaling.fallback", of)


ACCEPTED_SCALING = {
    "office hours": schedules({}),
    "as many schedules as there may be": schedules(*({"cron": f"{minute} 0 * * *"} for minute in range(16))),
    "a schedule every quarter of an hour, by names": cron("*/15 0,6-18/2 1-7,L JAN,jul-DEC mon-FRI"),
    "the last Friday of the month": cron("30 23 * * 5L"),
    "the second Tuesday of the month": cron("5 0 * * 2#2"),
    "the same by its name": cron("5 0 * * tue#2"),
    "the last weekday of the month": cron("0 0 LW * *"),
    "a schedule by UTC, for that is the default": schedules({"timeZone": "UTC"}),
    "a time zone in three parts": schedules({"timeZone": "America/Argentina/Buenos_Aires"}),
    "a time zone with a sign": schedules({"timeZone": "Etc/GMT+12"}),
    "a fallback that holds": fallback(),
    "a fallback to a number": fallback(behavior="AtLeast", replicas=4, after="10m"),
    "an ITL target": metric(type="ITL", percentile=90, target="40ms"),
    "a KVCache target": changed(VLLM, "scaling", {"maxReplicas": 4, "metrics": [KV_CACHE]}),
    "a query of one's own": metric(type="PromQL", query="sum(my_queue_length)", target="4"),
    "a query with a fraction as target": metric(type="PromQL", query="vector(1)", target="0.25"),
    "no metric: planned with its cascade": changed(SCALED, "scaling.metrics", []),
    "observing": changed(SCALED, "scaling.mode", "Observe"),
}

_CRON = "must be five fields with blanks between: minute (0-59)"
REJECTED_SCALING = {
    "four fields": (cron("0 8 * *  "), _CRON),
    "six fields": (cron("0 0 8 * * 1-5"), _CRON),
    "minute 60": (cron("60 8 * * *"), _CRON),
    "hour 24": (cron("0 24 * * *"), _CRON),
    "day 0": (cron("0 8 0 * *"), _CRON),
    "day 32": (cron("0 8 32 * *"), _CRON),
    "month 13": (cron("0 8 * 13 *"), _CRON),
    "day of the week 8": (cron("0 8 * * 8"), _CRON),
    "a day of no week": (cron("0 8 * * Mo-Fr"), _CRON),
    "the sixth Monday of a month": (cron("0 8 * * 1#6"), _CRON),
    "a step of nothing": (cron("*/0 8 * * *"), _CRON),
    "a range without an end": (cron("0 8- * * *"), _CRON),
    "a name for a schedule": (cron("@every-day"), _CRON),
    "a schedule in words": (cron("at eight o'clock"), _CRON),
    "a time zone with a blank": (schedules({"timeZone": "Europe/ Zurich"}), "such as Europe/Zurich or UTC"),
    "a time zone that climbs": (schedules({"timeZone": "../etc/passwd"}), "such as Europe/Zurich or UTC"),
    "a schedule of no length": (schedules({"duration": "0s"}), "must be a duration above zero"),
    "a schedule of two days": (
        schedules({"duration": "48h"}),
        "must be a duration above zero and at most 24h",
    ),
    "a schedule for nothing": (schedules({"minReplicas": 0}), "should be greater than or equal to 1"),
    "a schedule above the maximum": (
        schedules({"minReplicas": 5}),
        "minReplicas of a schedule must not be above scaling.maxReplicas",
    ),
    "too many schedules": (schedules(*({} for _ in range(17))), "must have at most 16 items"),
    "a fallback that holds a number": (
        fallback(replicas=3),
        "replicas is for behavior AtLeast: leave it out, or write behavior: AtLeast",
    ),
    "a fallback to no number": (fallback(behavior="AtLeast"), "behavior AtLeast needs replicas: how many"),
    "a fallback above the maximum": (
        fallback(behavior="AtLeast", replicas=5),
        "replicas of fallback must not be above scaling.maxReplicas",
    ),
    "a fallback to nothing": (
        fallback(behavior="AtLeast", replicas=0),
        "should be greater than or equal to 1",
    ),
    "a number for ITL": (metric(type="ITL", target=40), "TTFT or ITL metric must be a duration above zero"),
    "a KVCache target of a fraction": (
        changed(VLLM, "scaling", {"maxReplicas": 4, "metrics": [{**KV_CACHE, "target": "0.8"}]}),
        "must be whole percent from 1 to 100, such as 80",
    ),
    "a KVCache target above all there is": (
        changed(VLLM, "scaling", {"maxReplicas": 4, "metrics": [{**KV_CACHE, "target": 101}]}),
        "must be whole percent from 1 to 100, such as 80",
    ),
    "a KVCache target of a llama.cpp": (
        metric(type="KVCache", target=80),
        "only vLLM says how full its KV cache is: use a Queue or Concurrency metric",
    ),
    "PromQL without a query": (
        metric(type="PromQL", target=4),
        "query belongs to a PromQL metric: write it there",
    ),
    "an empty query": (metric(type="PromQL", target=4, query=""), "should be at least 1 chars long"),
    "a query that is a book": (
        metric(type="PromQL", target=4, query="x" * 2049),
        "may not be more than 2048",
    ),
    "a query of another metric": (
        metric(type="Queue", target=4, query="up"),
        "query belongs to a PromQL metric: write it there, and leave it out of any other",
    ),
    "a duration for PromQL": (metric(type="PromQL", query="up", target="4s"), "must be a number above zero"),
    "nothing as target of PromQL": (
        metric(type="PromQL", query="up", target="0"),
        "must be a number above zero",
    ),
    "an unknown mode": (changed(SCALED, "scaling.mode", "Dry"), 'supported values: "Auto", "Observe"'),
}
