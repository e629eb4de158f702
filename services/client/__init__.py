"""Client: where the loop begins and ends. Simulated clients, their ledger, and the demo that tells the loop's story."""
