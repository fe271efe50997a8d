"""First values: the law they are of, and one stream a member."""

import pytest
import torch

from icl.models.first_values import TRUNCATED_STD, draw_normal, draw_truncated_normal, truncated_normal
from icl.rng import Draw


def test_truncated_normal_numbers_have_variance_one_and_two_deviations_at_most():
    z = truncated_normal(Draw([0], "t", dtype=torch.float64), 200_000)[0]
    assert z.abs().max() < 2 / TRUNCATED_STD
    assert z.mean().item() == pytest.approx(0, abs=0.01)
    assert z.var().item() == pytest.approx(1, abs=0.01)
    normal = torch.distributions.Normal(0.0, 1.0)
    cut = torch.tensor([-1.5, -0.5, 0.7], dtype=torch.float64)
    low, high = normal.cdf(torch.tensor([-2.0, 2.0])).double()
    expected = (normal.cdf(cut * TRUNCATED_STD) - low) / (high - low)
    assert [(z < c).double().mean().item() for c in cut] == pytest.approx(expected.tolist(), abs=0.005)


@pytest.mark.parametrize("fill", [draw_normal, draw_truncated_normal])
def test_a_member_has_the_values_of_its_own_seed_alone(fill):
    bank, alone = torch.zeros(3, 4, 5), torch.zeros(1, 4, 5)
    fill([bank], Draw([7, 8, 9], "init"), 0.3)
    fill([alone], Draw([8], "init"), 0.3)
    assert torch.equal(bank[1], alone[0])


@pytest.mark.parametrize("fill", [draw_normal, draw_truncated_normal])
def test_one_seed_for_several_members_is_refused(fill):
    with pytest.raises(ValueError, match="the draw has 1 seeds, the bank 3 members"):
        fill([torch.zeros(3, 4)], Draw([0], "init"), 1.0)
