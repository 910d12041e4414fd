"""Numbers and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def decimals(margin: float) -> int:
    """Digits after the point that show a difference with such a margin: four, or five for finer ones."""
    return 4 if margin == 0 or margin >= 0.0002 else 5


def signed(value: float, digits: int = 4) -> str:
    """With its sign, a true minus, and no negative zero.

    Example:
        >>> signed(-0.00061), signed(0.0), signed(-0.00001)
        ('−0.0006', '0.0000', '0.0000')
    """
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def percent(share: float) -> str:
    """As whole percents, without rounding a little to nothing.

    Example:
        >>> percent(0.314), percent(0.002), percent(0.0)
        ('31 %', '< 1 %', '0 %')
    """
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def listed(names: Sequence[str]) -> str:
    """As in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    Example:
        >>> plural(1, "seed"), plural(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def capitalised(text: str) -> str:
    """With a capital first letter, and all others as they are.

    Example:
        >>> capitalised("the AUC of ctr")
        'The AUC of ctr'
    """
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """In the unit that suits.

    Example:
        >>> duration(0.002), duration(0.312), duration(75), duration(754), duration(9000)
        ('< 0.1 s', '0.3 s', '75 s', '13 min', '2.5 h')
    """
    if seconds < 0.05:
        return "< 0.1 s"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
