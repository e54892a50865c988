"""The core map that `velo topology --shards 8 --format json` must give on two packages of eight cores with two threads.

    topology.py LINES.jsonl

Eight shards stand on eight physical cores, four on each of the two nodes, no two on threads of one core, and no
housekeeping on a core of theirs. The lines are described in docs/OPERATIONS.md, Core maps.
"""

import json
import sys

import rows

FIELDS = ["role", "shard", "cpu", "core", "package", "node", "l3", "smt"]


def main():
    def check():
        with open(sys.argv[1], encoding="utf-8") as lines:
            placements = [json.loads(line) for line in lines]
        wrong = [f"schema is not 1: {place}" for place in placements if place.get("schema") != 1]
        wrong += [f"{name} is missing: {place}" for place in placements for name in FIELDS if name not in place]
        rows.refuse(wrong)
        shards = [place for place in placements if place["role"] == "shard"]
        others = [place for place in placements if place["role"] != "shard"]
        if sorted(place["shard"] for place in shards) != list(range(8)):
            wrong.append(f"shards are {[place['shard'] for place in shards]}, must be 0 to 7")
        cores = {place["core"] for place in shards}
        if len(cores) != 8:
            wrong.append(f"shards stand on cores {sorted(cores)}, must be 8 different ones")
        nodes = [place["node"] for place in shards]
        if sorted(map(nodes.count, set(nodes))) != [4, 4]:
            wrong.append(f"shards stand on nodes {nodes}, must be 4 on each of 2")
        for place in shards:
            for other in shards:
                if other is not place and other["cpu"] in [place["cpu"], *place["smt"]]:
                    wrong.append(f"shards {place['shard']} and {other['shard']} share a core: cpus {place['cpu']}, {other['cpu']}")
        for place in others:
            if place["role"] != "housekeeping" or place["shard"] is not None:
                wrong.append(f"neither a shard nor housekeeping: {place}")
            if place["core"] in cores:
                wrong.append(f"housekeeping on a shard's core: {place}")
        rows.refuse(wrong)
        domains = len({place["l3"] for place in shards})
        return f"8 shards on 8 cores, 4 on each of 2 nodes, over {domains} L3 domains, {len(others)} for housekeeping"

    rows.finish(check)


if __name__ == "__main__":
    main()
