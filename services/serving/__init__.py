"""Model serving: BentoML scores with the champion of every system, and swaps when the registry's alias moves."""
