"""Make the labelled tasks by the rules in params.yaml: domains.<domain>.label."""

from pipelines import stage
from vertiform.corpus.label import LabelParams, label_corpus

if __name__ == "__main__":
    stage.run(label_corpus, LabelParams)
