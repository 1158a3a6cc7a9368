"""PageRank (Page, Brin, Motwani, Winograd 1999) by power iteration, and a graph to rank."""

import random

DAMPING = 0.85
LINKS_EACH = 10


def preferential_graph(nodes, seed):
    """Links of a Barabási-Albert graph: each new node links to LINKS_EACH earlier ones (fewer at the
    start), the likelier the more links they have. A list of targets for each node."""
    generator = random.Random(seed)
    ends = [0]  # A node is in it once, and once more for every link to it.
    links = [[]]
    for node in range(1, nodes):
        chosen = []
        while len(chosen) < min(node, LINKS_EACH):
            target = ends[int(generator.random() * len(ends))]
            if target not in chosen:
                chosen.append(target)
        links.append(chosen)
        ends += chosen
        ends.append(node)
    return links


def pagerank(links, rounds):
    """The rank of each node; they sum up to 1. What a node without links has goes to all alike."""
    count = len(links)
    ranks = [1.0 / count] * count
    for _ in range(rounds):
        received = [0.0] * count
        loose = 0.0
        for node, targets in enumerate(links):
            if not targets:
                loose += ranks[node]
                continue
            share = ranks[node] / len(targets)
            for target in targets:
                received[target] += share
        base = (1.0 - DAMPING + DAMPING * loose) / count
        ranks = [base + DAMPING * value for value in received]
    return ranks
