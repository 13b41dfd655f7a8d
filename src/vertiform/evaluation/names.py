"""The names of metrics, each said once, with its unit in the name."""

# Training: one point every trainer.log_every_steps.
TRAIN_NATS_PER_TOKEN = "train/nats_per_token"
TRAIN_LOSS_NATS = "train/loss_nats"
LEARNING_RATE = "train/learning_rate"
GRADIENT_NORM = "train/gradient_norm"

# Validation: one point every validation.
VAL_NATS_PER_TOKEN = "val/nats_per_token"
VAL_PERPLEXITY = "val/perplexity"
VAL_LOSS_NATS = "val/loss_nats"

# Speed: of the training steps alone, validation left out.
TOKENS_PER_SECOND = "speed/tokens_per_second"
