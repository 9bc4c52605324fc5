"""Tables: files, cells, dates and manifests in, corpora out."""
