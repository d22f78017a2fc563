"""Times, bytes and evaluations against peers, each benchmark in a module with a command line."""
