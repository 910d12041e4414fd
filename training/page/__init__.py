"""Pages for people: one HTML file each, which opens without a network, on light and dark screens and on paper.

The look that all pages share: a template to begin from, plots as inline SVG in the page's colours, numbers in words.

    >>> from training.page import percent, plural, signed
    >>> percent(0.314), plural(1200, "row"), signed(-0.00061)
    ('31 %', '1,200 rows', '−0.0006')
"""

from training.page.lines import end_labels, running_mean
from training.page.template import page_template
from training.page.theme import inline_svg, styled, task_colour
from training.page.wording import capitalised, decimals, duration, listed, percent, plural, signed

__all__ = [
    # the page
    "page_template",
    # its plots
    "styled",
    "inline_svg",
    "task_colour",
    "end_labels",
    "running_mean",
    # its words
    "capitalised",
    "decimals",
    "duration",
    "listed",
    "percent",
    "plural",
    "signed",
]
