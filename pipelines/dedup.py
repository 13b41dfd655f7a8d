"""Keep one of each set of same or nearly same documents: params.yaml, domains.<domain>.dedup."""

from pipelines import stage
from vertiform.corpus.dedup import DedupParams, dedup_corpus

if __name__ == "__main__":
    stage.run(dedup_corpus, DedupParams)
