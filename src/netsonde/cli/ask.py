"""`netsonde ask`: each question a command; the answer, its bounds and its certificate printed."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from netsonde.cli import exits
from netsonde.cli.options import About, Increment, Output, Packets, Service
from netsonde.model import asked

app = App(
    name="ask",
    help="Ask about traffic, now or in the past; every number comes with its bounds.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)


def _asked(question: asked.Asked, service: Service, output: Output) -> int:
    from netsonde.cli import checking, printing

    checking.check(question)
    with service.client() as client:
        return printing.answer(client.ask(question), output)


@app.command(help_epilogue="Such as: netsonde ask count --proto tcp --window 'last 30s'")
def count(
    key: str | None = None,
    *,
    by: str | None = None,
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """How much: of everything that passes, or of one key.

    Args:
        key: one key, its parts joined by commas: 10.0.0.6,443
        by: key type of the key: src, src_dport, src/24 ...
        increment: what to count.
    """
    question = asked.Count(
        key=key, by=by, increment=increment, filter=packets.filter_text(), **vars(about)
    )
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask top src_dst --window 'last 30s'")
def top(
    by: str,
    *,
    k: int | None = None,
    share: float | None = None,
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """Who has most: the largest keys, or all over a share of the total.

    Args:
        by: key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.
        k: how many; 10 by default, with --share all that may be over it.
        share: keys over this share of the total, 0 to 1.
        increment: what to count.
    """
    question = asked.Top(
        by=by,
        k=k,
        share=share,
        increment=increment,
        filter=packets.filter_text(),
        **vars(about),
    )
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask keys src --proto udp --limit 1000 --json")
def keys(
    by: str,
    *,
    limit: int = 100,
    after: str | None = None,
    all_: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """All keys in the order of their text, a page at a time.

    Args:
        by: key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.
        limit: keys of a page, 1 to 1000.
        after: begin behind this key.
        all_: print all pages; they are about the same time with a window that is a range.
        increment: what to count.
    """
    from netsonde.cli import checking, printing

    question = asked.Keys(
        by=by,
        limit=limit,
        after=after,
        increment=increment,
        filter=packets.filter_text(),
        **vars(about),
    )
    checking.check(question)
    status = exits.OK
    with service.client() as client:
        while True:
            page = client.ask(question)
            status = max(status, printing.answer(page, output))
            following = getattr(page, "next", None)
            if not all_ or following is None:
                return status
            question = checking.behind(question, following)


@app.command(help_epilogue="Such as: netsonde ask distinct src --dport 22 --window 'last 5m'")
def distinct(
    by: str,
    *,
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """How many different keys.

    Args:
        by: key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.
    """
    question = asked.Distinct(by=by, filter=packets.filter_text(), **vars(about))
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask distribution src_dst_sport_dport_proto")
def distribution(
    by: str,
    *,
    quantile: Annotated[tuple[float, ...], Parameter(negative="")] = (0.5, 0.9, 0.99),
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """How unequal keys are: histogram and quantiles of their totals, and entropy.

    Args:
        by: key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.
        quantile: shares of the keys, 0 to 1; may be given again.
        increment: what to count.
    """
    question = asked.Distribution(
        by=by,
        quantiles=quantile,
        increment=increment,
        filter=packets.filter_text(),
        **vars(about),
    )
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask spreaders src --of dst_dport --flow attempt")
def spreaders(
    by: str = "src",
    *,
    of: str = "dst",
    k: int = 10,
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """Who contacts, or is contacted by, most different others.

    Args:
        by: who is listed: src for those who contact, dst for those who are contacted.
        of: what is counted once for each: dst, dport, dst_dport, src ...
        k: how many.
    """
    question = asked.Spreaders(by=by, of=of, k=k, filter=packets.filter_text(), **vars(about))
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask change dst --window 'last 1m' --increment bytes")
def change(
    by: str,
    *,
    against: str = "before",
    k: int = 10,
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """What differs from another window, largest difference first.

    Args:
        by: key type: src, dst, sport, dport, proto, joined by '_'; prefixes as src/24.
        against: the other window; 'before': as long, and just before.
        k: how many.
        increment: what to count.
    """
    question = asked.Change(
        by=by,
        against=against,
        k=k,
        increment=increment,
        filter=packets.filter_text(),
        **vars(about),
    )
    return _asked(question, service, output)


@app.command(help_epilogue="Such as: netsonde ask series --proto tcp --window 'last 1m'")
def series(
    key: str | None = None,
    *,
    by: str | None = None,
    step: Literal["100ms", "1s", "10s"] = "1s",
    increment: Increment = "packets",
    packets: Packets = Packets(),
    about: About = About(),
    output: Output = Output(),
    service: Service = Service(),
) -> int:
    """A rate over time: a count for each step, of everything that passes or of one key.

    Args:
        key: one key, its parts joined by commas: 10.0.0.6,443
        by: key type of the key: src, src_dport, src/24 ...
        step: time between two counts.
        increment: what to count.
    """
    question = asked.Series(
        key=key,
        by=by,
        step=step,
        increment=increment,
        filter=packets.filter_text(),
        **vars(about),
    )
    return _asked(question, service, output)
