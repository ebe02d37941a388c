"""Find short reads in a large reference, with TaskVine: the data stays where the work is done.

The reference is a file that workers keep and pass on to each other. Its index is built once in each worker, by a
library, and shared by all calls. Counts stay at the workers, are added up there, and only the sum comes home. Then the
same once more as it is often done: each task gets the reference along with its reads, and builds the index for itself.

python genome_search.py [--bases N] [--queries N] [--plain N]    (N calls of the plain way are enough to see it)
"""

import argparse
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trellis
from trellis import Config, python_app
from trellis.executors.taskvine import (
    Library,
    TaskVineExecutor,
    TaskVineFactoryConfig,
    TaskVineFile,
    TaskVineManagerConfig,
    load_variable_from_library,
)

Index = dict[str, list[int]]  # places of each piece
Hits = Counter[int]  # by region

REFERENCE = "reference.txt"
SEED_BASES, READ_BASES, READS_PER_QUERY, REGIONS = 12, 50, 20, 10


def build_index(text: str) -> dict[str, Any]:
    """Where each piece of 12 bases occurs."""
    index: Index = {}
    for place in range(len(text) - SEED_BASES + 1):
        index.setdefault(text[place : place + SEED_BASES], []).append(place)
    return {"text": text, "index": index}


def load_index(path: str) -> dict[str, Any]:
    """The library's context: what it gives is kept, and shared by all calls."""
    return build_index(Path(path).read_text())


def count_hits(text: str, index: Index, reads: list[str]) -> Hits:
    """In which tenth of the reference the reads are."""
    hits: Hits = Counter()
    for read in reads:
        places = index.get(read[:SEED_BASES], ())
        hits.update(REGIONS * place // len(text) for place in places if text.startswith(read, place))
    return hits


@python_app
def search(reads: list[str], parsl_resource_specification: Any = None) -> Hits:
    return count_hits(load_variable_from_library("text"), load_variable_from_library("index"), reads)


@python_app
def add(first: Hits, second: Hits, parsl_resource_specification: Any = None) -> Hits:
    return first + second


@python_app
def search_plainly(text: str, reads: list[str]) -> Hits:
    return count_hits(**build_index(text), reads=reads)


def search_with_library(queries: list[list[str]]) -> Hits:
    """The counts are added in pairs, at the workers."""
    stay = {"library": "genome", "temp_output": True}
    counts: list[Any] = [search(reads, parsl_resource_specification=stay) for reads in queries]
    while len(counts) > 1:
        pairs = zip(counts[::2], counts[1::2], strict=False)
        counts = [add(*pair, parsl_resource_specification=stay) for pair in pairs] + counts[len(counts) // 2 * 2 :]
    total: Hits = counts[0].result().fetch()
    return total


def search_without(text: str, queries: list[list[str]]) -> Hits:
    return sum((future.result() for future in [search_plainly(text, reads) for reads in queries]), Counter())


def make_data(bases: int, queries: int) -> tuple[str, list[list[str]]]:
    """A reference, and reads that were cut out of it."""
    rng = random.Random(1)
    text = "".join(rng.choices("ACGT", k=bases))
    Path(REFERENCE).write_text(text)
    starts = [[rng.randrange(bases - READ_BASES) for _ in range(READS_PER_QUERY)] for _ in range(queries)]
    return text, [[text[start : start + READ_BASES] for start in query] for query in starts]


def new_executor() -> TaskVineExecutor:
    reference = TaskVineFile(REFERENCE, cache="forever")
    library = Library("genome", context=load_index, args=(REFERENCE,), inputs=[reference], exec_mode="direct", cores=1)
    return TaskVineExecutor(
        function_exec_mode="serverless",
        engine="embedded",
        libraries=[library],
        manager_config=TaskVineManagerConfig(library_config={"cores": 1}, wait_for_workers=2),
        factory_config=TaskVineFactoryConfig(min_workers=2, max_workers=2, workers_per_cycle=2, cores=1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Find short reads in a large reference.")
    parser.add_argument("--bases", type=int, default=1_000_000, help="of the reference (%(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="calls with 20 reads each (%(default)s)")
    parser.add_argument("--plain", type=int, default=10, help="calls of the other way (%(default)s)")
    options = parser.parse_args()
    text, queries = make_data(options.bases, options.queries)

    executor = new_executor()
    with trellis.load(Config(executors=[executor])):
        started = time.perf_counter()
        hits = search_with_library(queries)
        fast_s = time.perf_counter() - started
        status = executor.vine_status()
        assert status is not None, "the manager does not answer"

        plain_queries = queries[: options.plain]
        started = time.perf_counter()
        plain_hits = search_without(text, plain_queries)
        slow_s = time.perf_counter() - started

    print(f"{sum(hits.values())} hits in {options.queries * READS_PER_QUERY} reads")
    print(f"the other way found {sum(plain_hits.values())} hits in {len(plain_queries) * READS_PER_QUERY} reads")
    moved = status.sent_by_manager + status.sent_by_workers
    inputs = status.cache_hits + status.cache_misses
    print(
        f"with cache and context: {moved / 1e6:.2f} MB moved for {len(queries)} queries, "
        f"{len(queries) / fast_s:.1f} queries per second, {status.cache_hits} of {inputs} inputs already there"
    )
    print(
        f"without: {len(plain_queries) * len(text) / 1e6:.2f} MB moved for {len(plain_queries)} queries, "
        f"{len(plain_queries) / slow_s:.1f} queries per second"
    )


if __name__ == "__main__":
    main()
