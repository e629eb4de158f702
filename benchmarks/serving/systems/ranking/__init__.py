"""A system to measure with: which of the candidates will this user click? 24 features a row, one model."""
