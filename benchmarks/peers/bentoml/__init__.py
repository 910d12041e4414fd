"""BentoML: a service class behind Starlette and pydantic."""
