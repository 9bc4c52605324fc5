"""Where metrics and figures go: ``metrics.jsonl``, MLflow, Comet."""
