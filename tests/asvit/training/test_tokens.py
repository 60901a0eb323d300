"""Tokens of a training: their plan, and what each number of them costs."""

import pytest

import asvit
from asvit.models.asvit import SIZES
from asvit.models.retokenization import SCHEDULE, Tokens, retokenize
from asvit.spaces.architectures import build_on_meta
from asvit.training.settings import TokenPlan
from asvit.training.timing import count_stages, saved
from tests.asvit.models.families import make


@pytest.mark.parametrize(
    ("text", "epochs", "wanted"),
    [
        ("120/90/90", 300, (120, 90, 90)),
        ("auto", 300, (120, 90, 90)),
        ("auto", 10, (4, 3, 3)),
        ("auto", 3, (1, 1, 1)),
        ("auto", 2, (0, 1, 1)),
        ("auto", 1, (0, 0, 1)),
        ("0/0/7", 7, (0, 0, 7)),
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
        ("0.4/0.3/0.3", 300, "'0.4/0.3/0.3' is not a plan of 3 stages"),
        ("120/180", 300, "'120/180' is not a plan of 3 stages of tokens; use epochs such as"),
        ("Auto", 300, "'Auto' is not a plan"),
        ("", 300, "'' is not a plan"),
        ("1e2/1/1", 102, "not a plan"),
        ("1/1/2\n", 4, "not a plan"),
        ("\u0663/1/1", 5, "not a plan"),  # a digit, but of another script
        ("3/2/0", 5, "3/2/0 leaves no epoch for tokens of full resolution"),
    ],
)
def test_other_texts_are_refused(text, epochs, message):
    with pytest.raises(ValueError, match=message) as refused:
        TokenPlan.parse(text, epochs)
    assert "\n" not in str(refused.value)


#: FLOPs of a step at each stage relative to full resolution, from arXiv:2202.11921.
PUBLISHED_FRACTIONS = (0.132, 0.285, 1.0)


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
    assert fitting == [TokenPlan.parse("auto", 300).epochs]


# Multiply-adds (core) at full resolution, and per cent of them at (8,2) and (16,5): measured once
# with grids whose odd sides are rounded up, as ours are.
TABLE = {
    "asvit_small": (5_132_134_656, 20.5, 5.3),
    "asvit_base": (8_753_694_080, 21.8, 5.8),
    "asvit_large": (22_357_813_760, 21.1, 5.6),
}


@pytest.mark.parametrize("size", TABLE)
def test_the_sizes_cost_what_the_table_says(size):
    model = build_on_meta(SIZES[size], image_size=224)
    full, *wanted = TABLE[size]
    assert asvit.cost(model).macs == full
    percents = []
    for tokens in reversed(SCHEDULE[:2]):
        retokenize(model, tokens)
        percents.append(round(100 * asvit.cost(model).macs / full, 1))
    assert percents == wanted


def test_costs_of_a_training():
    model = make("asvit")
    costs = count_stages(model, 64)
    assert [(cost["stride"], cost["dilation"]) for cost in costs] == list(SCHEDULE)
    for cost in costs:
        retokenize(model, Tokens(cost["stride"], cost["dilation"]))
        assert cost["macs"] == asvit.cost(model, 64).macs
        assert cost["fraction"] == cost["macs"] / costs[-1]["macs"]
    assert 0 < costs[0]["fraction"] < costs[1]["fraction"] < costs[2]["fraction"] == 1
