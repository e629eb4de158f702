"""The serving path beside what a user would otherwise put together, and beside the least that can be done."""
