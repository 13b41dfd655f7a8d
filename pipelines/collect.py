"""Read the raw text of a domain into documents: params.yaml, domains.<domain>.collect."""

from pipelines import stage
from vertiform.corpus.collect import CollectParams, collect_corpus

if __name__ == "__main__":
    stage.run(collect_corpus, CollectParams)
