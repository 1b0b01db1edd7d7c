"""What the API server makes of the rule is in test_admission; this is about its text."""

from modelfleet.api.judging import TIERS_MAX, AcceptRule, chosen_by_a_share


def test_every_place_but_the_last_is_judged_by_itself_and_those_after_it():
    places = chosen_by_a_share().split(" && (")

    assert len(places) == TIERS_MAX - 1
    for at, rule in enumerate(places):
        shares = [f"has(self.tiers[{other}].targetShare)" in rule for other in range(TIERS_MAX)]
        assert shares == [other >= at for other in range(TIERS_MAX)]
        assert f"!has(self.tiers[{at}].accept)" in rule
    assert len(chosen_by_a_share()) < 4096  # an object with it is read at every apply


def test_a_threshold_may_be_left_to_the_operator():
    assert AcceptRule(signal="MeanLogprob").threshold is None
