"""The engine: what turns a validated experiment of any family into a finished, resumable run."""
