"""The read tables on HBase, through its Thrift gateways."""
