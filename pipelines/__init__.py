"""The pipelines: from events and the log to features, models and a champion; each is a Prefect flow."""
