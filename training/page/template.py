"""Templates of pages: each is a file beside the code that fills it, and begins from the same head and style."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined, Template

BASE = "page.html.jinja"


def page_template(package: str, name: str) -> Template:
    """A template that may extend `page.html.jinja`; what is put into it is escaped, what is missing is an error.

    Args:
        package: That the file lies in.
        name: Of the file.
    """
    sources = {
        file: files(home).joinpath(file).read_text(encoding="utf-8")
        for home, file in ((__package__, BASE), (package, name))
    }
    environment = Environment(loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)
