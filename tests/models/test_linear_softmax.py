"""Logits are linear in the query, and zero at first."""

import torch

from icl.models.linear_softmax import LinearSoftmax
from icl.rng import Draw
from icl.tasks.zipf_classes import ZipfClasses


def test_a_one_hot_query_reads_its_column(draw):
    sample = ZipfClasses(dim=5).sample(4, Draw([0], "t", dtype=torch.float64))
    model = LinearSoftmax(dim=5, n_labels=5, n_seeds=2, dtype=torch.float64).requires_grad_(False)
    assert not model(sample.prompt).any()
    model.W.copy_(draw.normal(2, 5, 5)[0])
    classes = sample.prompt.x_query[0].argmax(-1)
    for m in range(2):
        torch.testing.assert_close(model.last(sample.prompt)[m], model.W[m][:, classes].T)
