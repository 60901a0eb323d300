import itertools
import math

import pytest
import torch

from asvit.search.policy import JointCategoricalPolicy, reinforce_step

SIZES = [2, 3, 1]


def make_policy(
    sizes: list[int] = SIZES, *, seed: int = 0, scale: float = 1e-3
) -> JointCategoricalPolicy:
    generator = torch.Generator().manual_seed(seed)
    return JointCategoricalPolicy(sizes, generator=generator, scale=scale)


def test_the_policy_of_the_real_space_starts_at_15_33_nats() -> None:
    policy = make_policy([5, 3, 3, 3, 3, 3, 2, 5, 5, 5, 5, 3])
    uniform = 5 * math.log(5) + 6 * math.log(3) + math.log(2)
    assert policy.entropy().item() == pytest.approx(uniform, abs=1e-4)
    assert uniform == pytest.approx(15.33, abs=0.005)


def test_draws_are_on_the_device_of_their_generator() -> None:
    expected = make_policy().sample(torch.Generator().manual_seed(7))
    with torch.device("meta"):  # as after torch.set_default_device
        policy = make_policy()
        assert policy.logits.device.type == "cpu"
        assert policy.sample(torch.Generator("cpu").manual_seed(7)) == expected


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
