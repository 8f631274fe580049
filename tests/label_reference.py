"""Label similarities by their definitions, with Python's sets and loops: slow, obvious, and not the project's way.

Nodes are named: a descriptor by its UI, a category by its letter, the root of all "root". A citation's headings are a
dict from UI to whether it is a major topic.
"""

import math

CHECK_TAGS = {"D006801", "D008297"}


class Reference:
    def __init__(self, uis, tree_numbers, corpus=(), check_tags=CHECK_TAGS):
        """``tree_numbers``: (UI, tree number) pairs; ``corpus``: the headings of citations, for corpus IC."""
        self.check_tags = check_tags
        self.positions = {ui: [] for ui in uis}
        at = {}
        for ui, number in tree_numbers:
            self.positions[ui].append(number)
            at.setdefault(number, set()).add(ui)
        self.above = {}
        for ui, numbers in self.positions.items():
            found = {ui, "root"}
            for number in numbers:
                found.add(number[0])
                pieces = number.split(".")
                for length in range(1, len(pieces) + 1):
                    found |= at.get(".".join(pieces[:length]), set())
            self.above[ui] = found
        self.nodes = [*uis, *sorted({number[0] for _, number in tree_numbers}), "root"]
        self.corpus = [set().union(*(self.above[ui] for ui in headings)) for headings in corpus]

    def below(self, node):
        return [ui for ui, above in self.above.items() if node in above]

    def weight(self, node, settings):
        virtual = {"root": "all"}.get(node, "category" if len(node) == 1 else None)
        if virtual == "all" and settings["roots"] != "all":
            return 0.0
        if virtual == "category" and settings["roots"] == "none":
            return 0.0
        return getattr(self, f"_{settings['weight']}")(node, settings)

    def _none(self, node, settings):
        return 1.0

    def _depth(self, node, settings):
        lift = {"none": 0, "category": 1, "all": 2}[settings["roots"]]
        if node == "root":
            return math.log(1 + 1)
        if len(node) == 1:
            return math.log(lift + 1)
        depths = [number.count(".") + 1 for number in self.positions[node]] or [1]
        depth = {"min": min, "max": max, "mean": lambda all_: sum(all_) / len(all_)}[settings["depth"]](depths)
        return math.log(depth + lift + 1)

    def _seco(self, node, settings):
        return 1 - math.log(len(self.below(node))) / math.log(len(self.positions))

    def _sanchez(self, node, settings):
        leaves = {ui for ui in self.positions if self.below(ui) == [ui]}
        if not leaves:
            return 1.0  # all at one position: there is nothing to tell them by
        under = len(leaves & (set(self.below(node)) - {node}))
        subsumers = len([one for one in self.above.get(node, ()) if len(one) > 1 and one != "root"]) or 1
        return -math.log((under / subsumers + 1) / (len(leaves) + 1)) / math.log(len(leaves) + 1)

    def _corpus(self, node, settings):
        total = len(self.corpus) + settings["smoothing"]
        found = sum(node in closed for closed in self.corpus) + settings["smoothing"]
        return -math.log(found / total) / math.log(total / settings["smoothing"])

    def factor(self, ui, major, settings):
        return (1.0 if major else settings["minor_topics"]) * (settings["check_tags"] if ui in self.check_tags else 1.0)

    def vector(self, headings, settings, closed):
        """Node to (weight, factor), of those where both are above 0."""
        values = {}
        for ui, major in headings.items():
            for node in self.above[ui] if closed else [ui]:
                weight, factor = self.weight(node, settings), self.factor(ui, major, settings)
                if weight > 0 and factor > values.get(node, (0, 0))[1]:
                    values[node] = (weight, factor)
        return values

    def cosine(self, p, q, settings, closed=True):
        one, other = (self.vector(headings, settings, closed) for headings in (p, q))
        dot = sum(one[node][0] ** 2 * one[node][1] * other[node][1] for node in one.keys() & other.keys())
        lengths = [math.sqrt(sum((w * m) ** 2 for w, m in vector.values())) for vector in (one, other)]
        return dot / (lengths[0] * lengths[1]) if dot else 0.0

    def flat_cosine(self, p, q, settings):
        return self.cosine(p, q, settings, closed=False)

    def simgic(self, p, q, settings):
        one, other = (self.vector(headings, settings, True) for headings in (p, q))
        shared = sum(one[node][0] * min(one[node][1], other[node][1]) for node in one.keys() & other.keys())
        of_both = {**one, **other}
        union = sum(
            weight * max(one.get(node, (0, 0))[1], other.get(node, (0, 0))[1]) for node, (weight, _) in of_both.items()
        )
        return shared / union if shared else 0.0

    def lin(self, a, b, settings):
        if a == b:
            return 1.0
        common = max((self.weight(node, settings) for node in self.above[a] & self.above[b]), default=0.0)
        return min(2 * common / (self.weight(a, settings) + self.weight(b, settings)), 1.0)

    def best_match(self, p, q, settings):
        one, other = (self.vector(headings, settings, False) for headings in (p, q))
        if not one or not other:
            return 0.0

        def half(these, those):
            best = [(factor, max(self.lin(a, b, settings) for b in those)) for a, (_, factor) in these.items()]
            return sum(factor * value for factor, value in best) / sum(factor for factor, _ in best)

        return (half(one, other) + half(other, one)) / 2
