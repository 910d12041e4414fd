"""`python -m serving.items`: builds one item table; see `serving.items.builder`."""

from serving.items.builder import main

if __name__ == "__main__":
    main()
