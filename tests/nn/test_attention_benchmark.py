import pytest
import torch

from tests.benchmarks import attention


@pytest.mark.parametrize("heads", [1, 4])
def test_all_versions_compute_the_same(heads: int) -> None:
    given = attention.problem(5, 27, heads)
    expected = attention.formula(*given)
    for method in attention.METHODS.values():
        torch.testing.assert_close(method(*given), expected, atol=1e-5, rtol=1e-5)


def test_windows_of_the_lattice_are_cut_at_its_border() -> None:
    pos, table = attention.lattice(4, 27)
    far = (pos[table.index] - pos[:, None]).abs().amax(-1)
    assert (far[table.mask] <= 1).all()
    assert sorted(table.mask.sum(1).unique().tolist()) == [8, 12, 18, 27]
