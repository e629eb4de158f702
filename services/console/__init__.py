"""The console: the platform's pages for people. It asks the gateway as any client does, and holds nothing itself."""
