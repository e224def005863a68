import pytest
import torch

from geogrid import GeogridError
from geogrid.graph import Neighborhood

EDGES = torch.tensor([[3, 0, 2, 1], [1, 0, 1, 3]])


def test_edges_come_back() -> None:
    table = Neighborhood.from_edge_index(EDGES, num_context=4, num_query=4)
    assert table.mask.sum(1).tolist() == [1, 2, 0, 1]
    assert table.edge_index.tolist() == [[0, 3, 2, 1], [0, 1, 1, 3]]


def test_no_edges() -> None:
    table = Neighborhood.from_edge_index(EDGES[:, :0], num_context=4, num_query=3)
    assert (table.num_query, table.k) == (3, 0)
    assert table.edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("index", "mask"),
    [
        (torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool)),
        (torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)),
        (torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 1, dtype=torch.bool)),
        (torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 2)),
    ],
)
def test_tables_that_do_not_fit(index: torch.Tensor, mask: torch.Tensor) -> None:
    with pytest.raises(GeogridError, match="expected a"):
        Neighborhood(index, mask, num_context=5)
