"""Programs for people who look at the project, not parts of the service."""
