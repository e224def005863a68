from examples import attention_module


def test_the_example_learns() -> None:
    errors = attention_module.train(steps=40)
    assert len(errors) == 40
    assert sum(errors[-4:]) < 0.6 * sum(errors[:4])
