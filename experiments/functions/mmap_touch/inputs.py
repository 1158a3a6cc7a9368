"""B takes twice what A takes: pages that no recording of A can know."""


def make(random, corpus):
    del random, corpus
    return {}, {"a": [{"mib": 16}, {"mib": 32}], "b": [{"mib": 48}, {"mib": 64}]}
