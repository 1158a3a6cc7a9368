"""REAP's json_serdes and FaaSnap's json (FunctionBench "json_dumps_loads"): parse a document, change it,
write it out.

Differs: the document is a file beside the function, not an object in a store; it is also transformed,
so that the objects are touched and not just made."""

import json

from stasis_digest import digest
from stasis_function import BadRequest, read_input, serve, text


def transform(document):
    """Orders by customer: how many, and their total in cents; and each order without its remarks."""
    totals = {}
    orders = []
    for order in document["orders"]:
        cents = sum(item["count"] * item["price_cents"] for item in order["items"])
        count, total = totals.get(order["customer"], (0, 0))
        totals[order["customer"]] = (count + 1, total + cents)
        orders.append({"id": order["id"], "cents": cents, "tags": sorted(order["tags"])})
    return {"orders": orders,
            "customers": [{"name": name, "orders": totals[name][0], "cents": totals[name][1]}
                          for name in sorted(totals)]}


def handle(request):
    try:
        document = json.loads(read_input(text(request, "document", 64)))
        result = transform(document)
    except (KeyError, TypeError):
        raise BadRequest("the document is not a list of orders") from None
    dumped = json.dumps(result, indent=4, sort_keys=True)
    return {"orders": len(result["orders"]), "customers": len(result["customers"]),
            "bytes": len(dumped), "sha256": digest(dumped)}


if __name__ == "__main__":
    serve(handle)
