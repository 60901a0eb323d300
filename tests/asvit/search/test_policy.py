import itertools
import math

import pytest
import torch

from asvit.search.policy import (
    JointCategoricalPolicy,
    MovingBaseline,
    WindowedReward,
    WorstSoFar,
    reinforce_step,
)

SIZES = [2, 3, 1]


def make_policy(
    sizes: list[int] = SIZES, *, seed: int = 0, scale: float = 1e-3
) -> JointCategoricalPolicy:
    generator = torch.Generator().manual_seed(seed)
    return JointCategoricalPolicy(sizes, generator=generator, scale=scale)


def test_the_policy_of_the_real_space_starts_at_15_33_nats() -> None:
    policy = make_policy([5, 3, 3, 3, 3, 3, 2, 5, 5, 5, 5, 3])
    assert policy.entropy().item() == pytest.approx(15.33, abs=0.005)


def test_joint_probability_and_entropy_agree_with_enumeration() -> None:
    policy = make_policy(scale=1.0)
    choices = list(itertools.product(*(range(size) for size in SIZES)))
    log_probs = torch.stack([policy.log_prob(choice).detach() for choice in choices])
    assert float(log_probs.exp().sum()) == pytest.approx(1.0)
    assert float(-(log_probs.exp() * log_probs).sum()) == pytest.approx(policy.entropy().item())
    best = max(range(len(choices)), key=lambda i: float(log_probs[i]))
    assert policy.argmax() == choices[best]


def test_the_update_is_the_gradient_of_minus_log_pi_times_advantage() -> None:
    policy = make_policy([3, 2], scale=1.0)
    before = policy.logits.detach().clone()
    optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
    reinforce_step(policy, optimizer, [(2, 0), (0, 1)], [0.5, -1.5])
    step = torch.zeros(5, dtype=torch.float64)
    for choice, advantage in (((2, 0), 0.5), ((0, 1), -1.5)):
        for part, place, option in ((slice(0, 3), 0, choice[0]), (slice(3, 5), 3, choice[1])):
            probabilities = before[part].softmax(0)
            step[part] -= advantage * probabilities / 2  # d log pi / d logits = onehot - p
            step[place + option] += advantage / 2
    assert torch.allclose(policy.logits.detach(), before + step)


BETTER = {"length": "higher", "kappa": "lower"}


def rewards(lengths: list[float], kappas: list[float]) -> list[float]:
    reward = WindowedReward(BETTER)
    return [
        reward.update({"length": length, "kappa": kappa})
        for length, kappa in zip(lengths, kappas, strict=True)
    ]


def test_rewards_by_hand() -> None:
    # step 2: length rises by its whole range (1), kappa falls by its whole range (1)
    # step 3: length falls 4 -> 3 of range 2..4; kappa rises 50 -> 75 of range 50..100
    # step 4: length 3 -> 6 of range 2..6; kappa unchanged
    found = rewards([2.0, 4.0, 3.0, 6.0], [100.0, 50.0, 75.0, 75.0])
    assert found == pytest.approx([0.0, 2.0, -0.5 - 0.5, 0.75], abs=1e-6)


def test_the_range_is_of_the_last_twenty_with_the_newest() -> None:
    values = [1000.0, *[float(i % 2) for i in range(20)], 4.0]
    reward = WindowedReward({"length": "higher"})
    found = [reward.update({"length": value}) for value in values]
    assert found[19] == pytest.approx((0.0 - 1.0) / 1000.0)
    assert found[20] == pytest.approx((values[20] - values[19]) / 1.0, rel=1e-5)  # 1000 is out
    assert found[21] == pytest.approx((4.0 - values[20]) / 4.0, rel=1e-5)


def test_baseline_by_hand() -> None:
    baseline = MovingBaseline()
    assert baseline.update(2.0) == pytest.approx(2.0)  # bias-corrected: the first is itself
    # 0.9 * 0.2 + 0.1 * -1 = 0.08, over 1 - 0.81
    assert baseline.update(-1.0) == pytest.approx(0.08 / 0.19)
    assert baseline.update(0.5) == pytest.approx((0.9 * 0.08 + 0.05) / (1 - 0.729))


def test_a_failure_counts_as_the_worst_so_far_in_its_own_direction() -> None:
    worst = WorstSoFar(BETTER)
    worst.fill({"length": 5.0, "kappa": 10.0})
    worst.fill({"length": 3.0, "kappa": 90.0})
    worst.fill({"length": 4.0, "kappa": 20.0})
    filled = worst.fill({"length": math.nan, "kappa": math.nan})
    assert filled == {"length": 3.0, "kappa": 90.0}
    assert worst.fill({"length": 9.0, "kappa": math.nan}) == {"length": 9.0, "kappa": 90.0}
