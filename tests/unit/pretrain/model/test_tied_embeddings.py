"""The embeddings' gradient: every occurrence of a token adds to its row, in one order."""

from __future__ import annotations

import pytest
import torch

from pretrain.model.tied_embeddings import add_rows, summed_by_row


@pytest.mark.parametrize("shape", [(8192, 256), (8192,)])
def test_sums_have_the_same_bits_every_time_on_several_threads(shape):
    """index_put_ gave eight results in eight calls here: threads added as they arrived."""
    generator = torch.Generator().manual_seed(0)
    rows_N = (torch.rand(2048, generator=generator) ** 3 * shape[0]).long()
    values = torch.randn(2048, *shape[1:], generator=generator)
    results = []
    for _ in range(8):
        results.append(torch.zeros(shape))
        add_rows(results[-1], rows_N, values)
    expected = torch.zeros(shape, dtype=torch.float64)
    for row, value in zip(rows_N.tolist(), values.double()):
        expected[row] += value
    assert all(torch.equal(result, results[0]) for result in results)
    torch.testing.assert_close(results[0].double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(500, 8), (500,)])
def test_sums_of_the_kernel_that_cuda_gets_are_those_of_additions_one_by_one(shape):
    generator = torch.Generator().manual_seed(1)
    rows_N = (torch.rand(3000, generator=generator) ** 3 * shape[0]).long()  # row 0: hundreds
    values = torch.randn(3000, *shape[1:], generator=generator)
    expected = torch.zeros(shape).index_add_(0, rows_N, values)
    sums = summed_by_row(rows_N, values, shape[0])
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-5)
