"""`netsonde ask`: each question a command; the answer, its bounds and its certificate printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter

from netsonde.cli import exits
from netsonde.cli.options import About, Increment, Output, Packets, Service
from netsonde.command.reading import MaybeWhole, Whole
from netsonde.model import asked
from netsonde.model.asked import StepName

app = App(
    name="ask",
    help="Ask about traffic, now or in the past; every number comes with its bounds.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)

By = Annotated[
    str,
    Parameter(
        help="key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.",
    ),
]
ByOfKey = Annotated[str | None, Parameter(help="key type of the key: src, src_dport, src/24 ...")]
Key = Annotated[str | None, Parameter(help="one key, its parts joined by commas: 10.0.0.6,443")]
Many = Annotated[Whole, Parameter(help="how many.")]

_PACKETS, _ABOUT, _OUTPUT, _SERVICE = Packets(), About(), Output(), Service()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asking:
    """What every question takes, and how it is asked."""

    packets: Packets = _PACKETS
    about: About = _ABOUT
    output: Output = _OUTPUT
    service: Service = _SERVICE

    def given(self) -> dict[str, Any]:
        """Give the fields that every question has."""
        return {"filter": self.packets.filter_text(), **vars(self.about)}

    def ask(self, question: asked.Asked) -> int:
        """Ask, print the answer, give its exit status."""
        from netsonde.cli import checking, printing

        checking.check(question)
        with self.service.client() as client:
            return printing.answer(client.ask(question), self.output)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Counting(Asking):
    """The same of questions that add something up."""

    increment: Annotated[Increment, Parameter(help="what to count.")] = "packets"

    def given(self) -> dict[str, Any]:
        """Give the fields that all of these have."""
        return {"increment": self.increment, **Asking.given(self)}


@app.command(help_epilogue="Such as: netsonde ask count --proto tcp --window 'last 30s'")
def count(key: Key = None, *, by: ByOfKey = None, asking: Counting = Counting()) -> int:
    """How much: of everything that passes, or of one key."""
    return asking.ask(asked.Count(key=key, by=by, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask top src_dst --window 'last 30s'")
def top(
    by: By,
    *,
    k: MaybeWhole = None,
    share: float | None = None,
    asking: Counting = Counting(),
) -> int:
    """Who has most: the largest keys, or all over a share of the total.

    Args:
        k: how many; 10 by default, with --share all that may be over it.
        share: keys over this share of the total, 0 to 1.
    """
    return asking.ask(asked.Top(by=by, k=k, share=share, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask keys src --proto udp --limit 1000 --json")
def keys(
    by: By,
    *,
    limit: Whole = 100,
    after: str | None = None,
    all_: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    asking: Counting = Counting(),
) -> int:
    """All keys in the order of their text, a page at a time.

    Args:
        limit: keys of a page, 1 to 1000.
        after: begin behind this key.
        all_: print all pages; they are about the same time with a window that is a range.
    """
    from netsonde.cli import checking, printing

    question = asked.Keys(by=by, limit=limit, after=after, **asking.given())
    checking.check(question)
    status = exits.OK
    with asking.service.client() as client:
        while True:
            page = client.ask(question)
            status = max(status, printing.answer(page, asking.output))
            following = getattr(page, "next", None)
            if not all_ or following is None:
                return status
            question = checking.behind(question, following)


@app.command(help_epilogue="Such as: netsonde ask distinct src --dport 22 --window 'last 5m'")
def distinct(by: By, *, asking: Asking = Asking()) -> int:
    """How many different keys."""
    return asking.ask(asked.Distinct(by=by, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask distribution src_dst_sport_dport_proto")
def distribution(
    by: By,
    *,
    quantile: Annotated[tuple[float, ...], Parameter(negative="")] = (0.5, 0.9, 0.99),
    asking: Counting = Counting(),
) -> int:
    """How unequal keys are: histogram and quantiles of their totals, and entropy.

    Args:
        quantile: shares of the keys, 0 to 1; may be given again.
    """
    return asking.ask(asked.Distribution(by=by, quantiles=quantile, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask spreaders src --of dst_dport --flow attempt")
def spreaders(by: str = "src", *, of: str = "dst", k: Many = 10, asking: Asking = Asking()) -> int:
    """Who contacts, or is contacted by, most different others.

    Args:
        by: who is listed: src for those who contact, dst for those who are contacted.
        of: what is counted once for each: dst, dport, dst_dport, src ...
    """
    return asking.ask(asked.Spreaders(by=by, of=of, k=k, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask change dst --window 'last 1m' --increment bytes")
def change(by: By, *, against: str = "before", k: Many = 10, asking: Counting = Counting()) -> int:
    """What differs from another window, largest difference first.

    Args:
        against: the other window; 'before': as long, and just before.
    """
    return asking.ask(asked.Change(by=by, against=against, k=k, **asking.given()))


@app.command(help_epilogue="Such as: netsonde ask series --proto tcp --window 'last 1m'")
def series(
    key: Key = None,
    *,
    by: ByOfKey = None,
    step: StepName = "1s",
    asking: Counting = Counting(),
) -> int:
    """A rate over time: a count for each step, of everything that passes or of one key.

    Args:
        step: time between two counts.
    """
    return asking.ask(asked.Series(key=key, by=by, step=step, **asking.given()))
