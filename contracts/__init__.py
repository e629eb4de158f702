"""The words that every part of the loop speaks: systems, records, ports and errors. No vendor, no I/O."""
