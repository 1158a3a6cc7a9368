"""Documents of orders. B's are of other sizes than A's, as in FaaSnap's experiment with two inputs."""

import json


def document(random, orders, corpus):
    """A JSON document of that many orders; about 330 bytes each."""
    def order(number):
        items = [{"article": corpus.word(random), "count": 1 + random.below(9),
                  "price_cents": 50 + random.below(99950)} for _ in range(1 + random.below(4))]
        return {"id": number, "customer": f"customer-{random.below(max(1, orders // 5))}",
                "items": items, "tags": [corpus.word(random) for _ in range(random.below(4))],
                "weight": random.below(100000) / 1000, "paid": random.below(2) == 1,
                "remark": corpus.sentence(random, 8)}
    return json.dumps({"orders": [order(number) for number in range(orders)]}).encode()


def make(random, corpus):
    sizes = {"a": (600, 1200), "b": (900, 2400)}
    files, sets = {}, {}
    for name, orders in sizes.items():
        sets[name] = []
        for index, count in enumerate(orders):
            file = f"orders-{name}{index}.json"
            files[file] = document(random, count, corpus)
            sets[name].append({"document": file})
    return files, sets
