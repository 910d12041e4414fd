"""LitServe: FastAPI in one process, the model in another, a queue between them."""
