"""Ray Serve: a proxy process that hands requests to a replica process."""
