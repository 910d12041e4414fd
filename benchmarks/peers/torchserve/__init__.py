"""TorchServe: a Java front end that hands requests to a Python worker over a socket."""
