"""What benchmarks share: a server as a child process, and where figures are kept."""
