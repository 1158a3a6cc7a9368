"""FaaSnap's pagerank (igraph's, on a Barabási-Albert graph with 10 links a node): the ranks of a graph
that is made for the request.

Differs: graph and ranks are in pure Python, so the graphs are smaller than FaaSnap's 90000 and 100000
nodes, and the iterations are counted instead of run to convergence. Only sums, products and quotients
of doubles are used, in a fixed order: IEEE 754 leaves no choice in the result. With "links" it ranks
just these."""

from pagerank import pagerank, preferential_graph
from stasis_digest import digest
from stasis_function import BadRequest, integer, serve


def given_links(request):
    links = request["links"]
    count = len(links) if isinstance(links, list) else 0
    if not 1 <= count <= 100:
        raise BadRequest("links: a list of 1 to 100 lists is wanted")
    for targets in links:
        if not isinstance(targets, list) or any(
                not isinstance(target, int) or not 0 <= target < count for target in targets):
            raise BadRequest("links: each is a list of nodes")
    return links


def handle(request):
    rounds = integer(request, "rounds", 1, 200)
    if "links" in request:
        ranks = pagerank(given_links(request), rounds)
        return {"ranks": [f"{rank:.12f}" for rank in ranks]}
    links = preferential_graph(integer(request, "nodes", 2, 200000), integer(request, "seed", 0, 2**32))
    ranks = pagerank(links, rounds)
    first = max(range(len(ranks)), key=lambda node: (ranks[node], -node))
    return {"nodes": len(ranks), "first": first, "rank": f"{ranks[first]:.12f}",
            "sha256": digest(*(rank.hex() for rank in ranks))}


if __name__ == "__main__":
    serve(handle)
