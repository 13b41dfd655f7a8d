"""Keep test text out, train a tokenizer, write tokens: params.yaml, domains.<domain>.tokenize."""

from pipelines import stage
from vertiform.corpus.tokenize import TokenizeParams, tokenize_corpus

if __name__ == "__main__":
    stage.run(tokenize_corpus, TokenizeParams)
