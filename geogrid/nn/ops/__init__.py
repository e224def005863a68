"""The operations behind the layers, as PyTorch custom ops."""

__all__: list[str] = []
