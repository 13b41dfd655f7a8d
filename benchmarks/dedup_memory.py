"""How much memory and time deduplication takes at two sizes, beside two libraries used plainly.

    python benchmarks/dedup_memory.py --documents 20000 60000

Each run is a process of its own. Memory is the peak of the process that holds the index; what grows
with the corpus is the difference of the two sizes, given in bytes a document (megabytes a million).
The texts are made: 60 words each, every fifth a near-copy of an earlier one (two words replaced).
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vertiform.corpus.document import Document, read_documents, write_documents
from vertiform.corpus.shingles import shingles_of

WORDS_PER_TEXT = 60
VOCABULARY = 20_000
COPY_FRACTION = 0.2
MIN_JACCARD = 0.7
SHINGLE_WORDS = 5
NUM_BANDS, ROWS_PER_BAND = 21, 6


def made_documents(number: int) -> Iterator[Document]:
    """Yield texts of random words, some of them near-copies of one of the last thousand."""
    rng = random.Random(0)
    recent: list[list[str]] = []
    for i in range(number):
        if recent and rng.random() < COPY_FRACTION:
            words = list(rng.choice(recent))
            for position in rng.sample((0, 1, WORDS_PER_TEXT - 2, WORDS_PER_TEXT - 1), 2):
                words[position] = f"new{i}"
        else:
            words = [f"word{int(rng.paretovariate(1)) % VOCABULARY}" for _ in range(40)]
            words += [f"rare{rng.randrange(10**6)}" for _ in range(WORDS_PER_TEXT - 40)]
            rng.shuffle(words)
            recent = [*recent[-999:], words]
        yield Document(f"made/{i}", " ".join(words), "made", {})


def ours(folder: Path) -> int:
    """Return how many documents the stage dedup drops."""
    from vertiform.corpus.dedup import DedupParams, dedup_corpus

    params = DedupParams(
        shingle_words=SHINGLE_WORDS,
        min_jaccard=MIN_JACCARD,
        min_group_jaccard=MIN_JACCARD,
        num_bands=NUM_BANDS,
        rows_per_band=ROWS_PER_BAND,
    )
    report = dedup_corpus(
        params,
        domain="made",
        documents=folder / "in",
        out=folder / "out",
        dropped=folder / "dropped",
    )
    return report["dropped_exact"] + report["dropped_near"]


def rensa(folder: Path) -> int:
    """Return how many documents rensa's own deduplicator drops, by estimated similarity."""
    from rensa import RMinHash, RMinHashDeduplicator

    num_hashes = NUM_BANDS * ROWS_PER_BAND
    seen = RMinHashDeduplicator(MIN_JACCARD, num_hashes, use_lsh=True, num_bands=NUM_BANDS, seed=1)
    dropped = 0
    for document in read_documents(folder / "in"):
        signature = RMinHash(num_hashes, 1)
        signature.update(shingles_of(document.text, num_words=SHINGLE_WORDS))
        dropped += not seen.add(document.id, signature)
    return dropped


def datasketch(folder: Path) -> int:
    """Return how many documents datasketch's LSH finds a match for, by shared bands alone."""
    from datasketch import MinHash, MinHashLSH

    num_hashes = NUM_BANDS * ROWS_PER_BAND
    seen = MinHashLSH(num_perm=num_hashes, params=(NUM_BANDS, ROWS_PER_BAND))
    dropped = 0
    for document in read_documents(folder / "in"):
        signature = MinHash(num_perm=num_hashes, seed=1)
        shingles = shingles_of(document.text, num_words=SHINGLE_WORDS)
        signature.update_batch([shingle.encode() for shingle in shingles])
        if seen.query(signature):
            dropped += 1
        else:
            seen.insert(document.id, signature, check_duplication=False)
    return dropped


WAYS: dict[str, Callable[[Path], int]] = {"ours": ours, "rensa": rensa, "datasketch": datasketch}


def measure(way: str, folder: Path) -> dict[str, float]:
    """Run one way in this process; return peak bytes, seconds and documents dropped."""
    started = time.monotonic()
    dropped = WAYS[way](folder)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return {"bytes": peak, "seconds": seconds, "dropped": dropped}


def in_own_process(way: str, folder: Path) -> dict[str, float] | None:
    """Return what measure() says, or None if the library is not installed."""
    command = [sys.executable, __file__, "--measure", way, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line per way and size, and what grows between the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs=2, default=[20_000, 60_000])
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return
    print(f"{'way':12} {'documents':>10} {'seconds':>8} {'peak MB':>8} {'dropped':>8}")
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / str(number) for number in options.documents]
        for folder, number in zip(folders, options.documents, strict=True):
            write_documents(folder / "in", made_documents(number))
        for way in WAYS:
            _print_way(way, folders, options.documents)


def _print_way(way: str, folders: list[Path], sizes: list[int]) -> None:
    results = [in_own_process(way, folder) for folder in folders]
    small, large = results
    if small is None or large is None:
        print(f"{way:12} not installed")
        return
    for number, result in zip(sizes, (small, large), strict=True):
        peak, dropped = result["bytes"] / 1e6, result["dropped"]
        print(f"{way:12} {number:10,} {result['seconds']:8.1f} {peak:8.0f} {dropped:8,}")
    grows = (large["bytes"] - small["bytes"]) / (sizes[1] - sizes[0])
    print(f"{way:12} grows by {grows:,.0f} bytes a document")


if __name__ == "__main__":
    main()
