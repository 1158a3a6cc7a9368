"""Queries on an SQLite database in memory: sums over a join, a search, and a change that is rolled back.

None of the papers' lists has it; it stands for functions that carry their data along. The database is
filled before the first request and is part of the warm state."""

import random
import sqlite3

from stasis_digest import digest
from stasis_function import integer, serve, text

CUSTOMERS, ORDERS = 500, 20000
CITIES = ("Aachen", "Bergen", "Cork", "Delft", "Espoo", "Faro", "Ghent", "Haifa")

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer,
                       day INTEGER NOT NULL, cents INTEGER NOT NULL);
CREATE INDEX purchase_customer ON purchase (customer, day);
"""

BY_CITY = """SELECT city, count(*), sum(cents) FROM purchase JOIN customer ON customer = customer.id
             WHERE day BETWEEN ? AND ? GROUP BY city ORDER BY city"""
BEST = """SELECT name, sum(cents) AS total FROM purchase JOIN customer ON customer = customer.id
          WHERE city = ? GROUP BY customer ORDER BY total DESC, name LIMIT 10"""
SEARCH = "SELECT id, name FROM customer WHERE name LIKE ? ORDER BY id"


def fill():
    """The database. Its rows follow from a fixed seed."""
    generator = random.Random(20221012)

    def below(bound):
        return int(generator.random() * bound)

    database = sqlite3.connect(":memory:", isolation_level=None)
    database.executescript(SCHEMA)
    database.execute("BEGIN")
    database.executemany("INSERT INTO customer VALUES (?, ?, ?)", (
        (number, f"customer {below(10**6):06}", CITIES[below(len(CITIES))])
        for number in range(CUSTOMERS)))
    database.executemany("INSERT INTO purchase VALUES (?, ?, ?, ?)", (
        (number, below(CUSTOMERS), below(365), 100 + below(99900)) for number in range(ORDERS)))
    database.execute("COMMIT")
    return database


DATABASE = fill()


def discount(percent):
    """The total after a discount for all, which does not last."""
    DATABASE.execute("BEGIN")
    try:
        DATABASE.execute("UPDATE purchase SET cents = cents * (100 - ?) / 100", (percent,))
        return DATABASE.execute("SELECT sum(cents) FROM purchase").fetchone()[0]
    finally:
        DATABASE.execute("ROLLBACK")


def handle(request):
    first, last = integer(request, "first_day", 0, 364), integer(request, "last_day", 0, 364)
    city, part = text(request, "city", 40), text(request, "part", 20)
    results = [DATABASE.execute(BY_CITY, (first, last)).fetchall(),
               DATABASE.execute(BEST, (city,)).fetchall(),
               DATABASE.execute(SEARCH, (f"%{part}%",)).fetchall()]
    discounted = discount(integer(request, "percent", 0, 100))
    total = DATABASE.execute("SELECT sum(cents) FROM purchase").fetchone()[0]
    return {"rows": [len(result) for result in results], "discounted": discounted, "total": total,
            "sha256": digest(*(repr(row) for result in results for row in result))}


if __name__ == "__main__":
    serve(handle)
