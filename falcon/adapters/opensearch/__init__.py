"""The index of messages of a cluster: OpenSearch, over HTTP."""
