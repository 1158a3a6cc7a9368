"""A reads one element of each page, B other elements of the same pages, and of every eighth."""


def make(random, corpus):
    del random, corpus
    return {}, {"a": [{"first": 0, "stride": 512}], "b": [{"first": 100, "stride": 512},
                                                        {"first": 7, "stride": 4096}]}
