"""Cross-entropy against torch's own, and targets whose mass is their weight."""

import torch

from icl.core import Prompt, Sample
from icl.models.linear_softmax import LinearSoftmax
from icl.objectives.cross_entropy import CrossEntropy
from tolerances import EXACT


def test_it_is_the_cross_entropy_of_torch(draw):
    model = LinearSoftmax(dim=4, n_labels=3, n_seeds=2, dtype=torch.float64)
    with torch.no_grad():
        model.W.copy_(draw.normal(2, 3, 4)[0])
    x = draw.normal(5, 4)
    target = draw.normal(5, 3).softmax(-1)
    sample = Sample(Prompt(x.new_zeros(1, 5, 0, 4), x.new_zeros(1, 5, 0, 0), x), target, None)
    found = CrossEntropy()(model, sample)
    for m in range(2):
        expected = torch.nn.functional.cross_entropy(x[0] @ model.W[m].mT, target[0])
        torch.testing.assert_close(found[m], expected, **EXACT)
