"""What is learned: layers of message passing between points in space."""

__all__: list[str] = []
