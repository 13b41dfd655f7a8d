"""transformers architectures, built from a config or loaded from a checkpoint folder."""
