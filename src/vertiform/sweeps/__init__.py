"""The only room that imports Optuna: what to try next, who tries it, and what came of it."""
