"""Video recommendation: which 20 of 100,000 videos will this user watch, and in which order to show them."""
