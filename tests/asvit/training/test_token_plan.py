"""Plans of the stages of tokens: texts, epochs, and what they save."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.training.token_plan import AUTO, PUBLISHED_FRACTIONS, TokenPlan, saved

plans = st.builds(TokenPlan, st.tuples(*(st.integers(least, 400) for least in (0, 0, 1))))


@given(plan=plans)
def test_texts_are_read_back(plan):
    assert TokenPlan.parse(str(plan), plan.total) == plan
    assert plan.is_off == (str(plan) == "off") == (plan.epochs[:2] == (0, 0))


@given(plan=plans)
def test_every_epoch_has_its_stage(plan):
    stages = [plan.stage(epoch) for epoch in range(plan.total)]
    assert tuple(stages.count(i) for i in range(3)) == plan.epochs
    assert stages == sorted(stages)
    changes = [e for e in range(1, plan.total) if stages[e] != stages[e - 1]]
    assert list(plan.switches) == changes
    for outside in (-1, plan.total):
        with pytest.raises(ValueError, match=f"epoch {outside} is none of {plan.total}"):
            plan.stage(outside)


@given(a=st.integers(0, 1000), b=st.integers(0, 1000), epochs=st.integers(1, 2000))
def test_shares_become_whole_epochs_that_add_up(a, b, epochs):
    first, last = sorted((a, b))
    shares = [first, last - first, 1000 - last]
    text = "/".join(f"{share // 1000}.{share % 1000:03}" for share in shares)
    if shares[2] == 0:
        with pytest.raises(ValueError, match="leaves no epoch for tokens of full resolution"):
            TokenPlan.parse(text, epochs)
        return
    plan = TokenPlan.parse(text, epochs)
    assert plan.total == epochs
    for got, share in zip(plan.epochs, shares, strict=True):
        assert abs(got - share * epochs / 1000) < 1


@pytest.mark.parametrize(
    ("text", "epochs", "wanted"),
    [
        ("120/90/90", 300, (120, 90, 90)),
        ("0.4/0.3/0.3", 300, (120, 90, 90)),
        ("auto", 300, (120, 90, 90)),
        ("auto", 10, (4, 3, 3)),
        ("auto", 3, (1, 1, 1)),
        ("auto", 2, (0, 1, 1)),
        ("auto", 1, (0, 0, 1)),
        ("0/0/7", 7, (0, 0, 7)),
        (".5/0/.5", 4, (2, 0, 2)),
        ("1/1/1", 3, (1, 1, 1)),
    ],
)
def test_what_texts_mean(text, epochs, wanted):
    assert TokenPlan.parse(text, epochs) == TokenPlan(wanted)
    short = "off" if wanted[:2] == (0, 0) else "/".join(map(str, wanted))
    assert str(TokenPlan(wanted)) == short


@pytest.mark.parametrize(
    ("text", "epochs", "message"),
    [
        ("120/90/90", 100, "120/90/90 is 300 epochs, but the training has 100; use epochs that"),
        ("0.4/0.3/0.2", 300, "the shares of 0.4/0.3/0.2 add up to 0.9; use shares of 1"),
        ("120/180", 300, "'120/180' is no plan of 3 stages of tokens; use epochs such as 120/90/"),
        ("Auto", 300, "'Auto' is no plan"),
        ("", 300, "'' is no plan"),
        ("1e2/1/1", 102, "no plan"),
        ("1/1/2\n", 4, "no plan"),
        ("\u0663/1/1", 5, "no plan"),  # a digit, but of another script
        ("3/2/0", 5, "3/2/0 leaves no epoch for tokens of full resolution"),
        ("off", 0, "a training has 1 epoch or more, got 0"),
    ],
)
def test_other_texts_are_refused(text, epochs, message):
    with pytest.raises(ValueError, match=message) as refused:
        TokenPlan.parse(text, epochs)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "epochs", [(), (1, 2), (1, 2, 3, 4), (1, -1, 1), (1, 1, 1.0), (1, True, 1)]
)
def test_plans_are_checked(epochs):
    with pytest.raises(ValueError, match=r"stages of tokens|whole numbers from 0"):
        TokenPlan(epochs)
    assert TokenPlan([1, 2, 3]) == TokenPlan((1, 2, 3))


# 1 − Σ share · fraction by hand: (120 · 0.132 + 90 · 0.285 + 90) / 300 = 0.4383, and
# (80 · 0.132 + 52 · 0.285 + 168) / 300 = 0.6446.
@pytest.mark.parametrize(
    ("text", "wanted"), [("120/90/90", 0.5617), ("80/52/168", 0.3554), ("off", 0.0)]
)
def test_what_plans_save_at_the_published_costs(text, wanted):
    plan = TokenPlan.parse(text, 300)
    assert saved(plan, PUBLISHED_FRACTIONS) == pytest.approx(wanted, abs=1e-12)


def test_the_default_is_the_only_plan_of_tens_that_saves_what_was_published():
    fitting = [
        (a, b, 300 - a - b)
        for a in range(0, 300, 10)
        for b in range(0, 300 - a, 10)
        if round(saved(TokenPlan((a, b, 300 - a - b)), PUBLISHED_FRACTIONS), 3)
        == 0.562  # the published saving of FLOPs: arXiv:2202.11921
    ]
    assert fitting == [TokenPlan.parse(AUTO, 300).epochs]


@given(plan=plans, fraction=st.floats(0, 1))
def test_equal_costs_save_the_same_in_every_plan(plan, fraction):
    assert saved(plan, [fraction] * 3) == pytest.approx(1 - fraction)
    with pytest.raises(ValueError, match="2 fractions for 3 stages; give one each"):
        saved(plan, [fraction] * 2)
