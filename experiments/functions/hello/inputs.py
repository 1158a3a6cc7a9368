"""A name to greet."""


def make(random, corpus):
    del random, corpus
    return {}, {"a": [{"name": "Ada"}, {"name": "Grace"}],
                "b": [{"name": "Edsger"}, {"name": "Barbara Liskov"}, {"name": "Ken"}]}
