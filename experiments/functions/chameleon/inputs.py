"""FaaSnap's tables: 100 by 300 to record, 200 by 200 to test; and a small one with a title that needs
escaping."""


def make(random, corpus):
    del random, corpus
    return {}, {"a": [{"rows": 100, "columns": 300, "title": "A & B"},
                      {"rows": 20, "columns": 10, "title": "<small>"}],
                "b": [{"rows": 200, "columns": 200, "title": "B \u2192 C"},
                      {"rows": 40, "columns": 25, "title": "\"quoted\""}]}
