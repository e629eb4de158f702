"""Ad click prediction: which of the candidate ads will this user click, and in which order to show them."""
