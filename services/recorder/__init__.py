"""The recorder: it drains the log into the archive, where training and monitoring find it."""
