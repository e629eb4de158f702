"""The serving path when more comes than it can answer, and when it has answered for ten minutes."""
