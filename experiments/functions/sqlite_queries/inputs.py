"""Other days, cities and searches in B than in A, so that other pages of the database are read."""


def make(random, corpus):
    del corpus

    def request(cities):
        first = random.below(300)
        return {"first_day": first, "last_day": first + random.below(60), "percent": random.below(50),
                "city": cities[random.below(len(cities))], "part": str(random.below(90) + 10)}

    return {}, {"a": [request(("Aachen", "Bergen", "Cork")) for _ in range(3)],
                "b": [request(("Delft", "Espoo", "Faro", "nowhere")) for _ in range(4)]}
