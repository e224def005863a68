import pytest
import torch

from geogrid.optimize.threads import FEW_POINTS, threads_for


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_little_work_gets_one_thread_and_what_was_set_comes_back() -> None:
    with threads_for(FEW_POINTS - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4
    with threads_for(FEW_POINTS):
        assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError), threads_for(0):
        _ = 1 / 0
    assert torch.get_num_threads() == 4
