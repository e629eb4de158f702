"""Monitoring: judges windows of the log, shows them in Evidently, and tells when quality fell, so that it retrains."""
