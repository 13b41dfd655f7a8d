"""What a language model is trained to do, one file per objective.

An objective has two halves. `preparer` says how windows of tokens become a batch: it runs where
batches are made, maybe in another process. `loss` runs the network on that batch.
"""
