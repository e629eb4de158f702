"""The API gateway: a client's request in; features, scores and the log behind it; an answer within its deadline."""
