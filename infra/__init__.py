"""What the loop runs on: settings, wiring, one adapter a store, the local stack and the command line."""
