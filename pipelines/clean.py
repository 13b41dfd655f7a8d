"""Repair and drop documents by the rules in params.yaml: domains.<domain>.clean."""

from pipelines import stage
from vertiform.corpus.clean import CleanParams, clean_corpus

if __name__ == "__main__":
    stage.run(clean_corpus, CleanParams)
