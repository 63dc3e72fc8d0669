"""A small pricing agent that records what it decides: `python examples/agent.py --url URL --key KEY`.

Each round it looks at one article of a made-up shop, lowers a price, orders stock or leaves things as they
are, and says why. The shop comes from a seed, so two runs with one seed decide alike. Needs the Python client
(`pip install ./clients/python`).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from dataclasses import dataclass

from ecp_client import Ledger

ARTICLES = ("lamp", "kettle", "oak shelf", "rain jacket", "desk", "blanket")
OLD_DAYS, FEW, STEEP_PERCENT = 90, 5, 20


@dataclass(frozen=True, slots=True)
class Article:
    name: str
    stock: int
    age_days: int
    price_cents: int


class SupplierSilentError(Exception):
    """The supplier does not answer."""


def seen(shop: random.Random) -> Article:
    return Article(
        shop.choice(ARTICLES), shop.randint(0, 60), shop.randint(1, 200), shop.randint(500, 20_000)
    )


def lower_price(ledger: Ledger, article: Article, shop: random.Random) -> str:
    percent = shop.choice((3, 5, 10, STEEP_PERCENT))
    age = f"The {article.name} has been in stock for {article.age_days} days"
    ledger.record(
        action="price.change",
        explanation=f"{age}, so it is {percent} % cheaper.",
        risk="medium" if percent >= STEEP_PERCENT else "low",
        alternatives=[{"option": "keep the price", "reason": "it has not sold for a quarter of a year"}],
        context={"stock": article.stock, "old_price_cents": article.price_cents, "percent": percent},
    )
    return f"price.change    {article.name}: {percent} % off"


def order(ledger: Ledger, article: Article, shop: random.Random) -> str:
    """An action that may fail; the block records how it ended."""
    try:
        with ledger.deciding(
            action="stock.order",
            explanation=f"Only {article.stock} of the {article.name} are left, so twenty more are ordered.",
            context={"stock": article.stock},
        ):
            if shop.random() < 0.3:  # noqa: PLR2004 - how often suppliers are silent
                raise SupplierSilentError  # noqa: TRY301 - stands for a call that fails
    except SupplierSilentError:
        return f"stock.order     {article.name}: the supplier is silent"
    return f"stock.order     {article.name}: 20 ordered"


def decide(ledger: Ledger, article: Article, shop: random.Random) -> str:
    if article.age_days > OLD_DAYS:
        return lower_price(ledger, article, shop)
    if article.stock < FEW:
        return order(ledger, article, shop)
    return f"nothing         {article.name}"


def main() -> int:
    parser = argparse.ArgumentParser(description="An agent that records its decisions.")
    parser.add_argument("--url", default=os.environ.get("URL"), help="address of the ledger; default $URL")
    parser.add_argument("--key", default=os.environ.get("KEY"), help="API key; default $KEY")
    parser.add_argument("--agent", default="pricing-bot")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.url or not options.key:
        parser.error("give --url and --key, or set URL and KEY")
    shop = random.Random(options.seed)  # noqa: S311 - a repeatable shop, no secret
    with Ledger(options.url, options.key, agent=options.agent) as ledger:
        for _ in range(options.rounds):
            print(decide(ledger, seen(shop), shop))
        is_delivered = ledger.flush()
    stats = ledger.stats()
    refused = stats.rejected + stats.refused
    print(f"{stats.delivered} lines delivered, {stats.pending} waiting, {refused} refused")
    return 0 if is_delivered and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
