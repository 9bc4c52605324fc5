"""Variable domains found, numbered (IMGT) and compared with germline genes, by an alignment to small profiles."""
