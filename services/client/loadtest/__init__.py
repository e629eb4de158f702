"""Load test: how many requests a system takes, how fast they are answered, and whether that is what it promised.

The command line prepares the requests, then only watches. Locust, with gevent's patches, runs in processes of its own
(generator.py): nothing of it is ever imported beside the rest of the platform.
"""
