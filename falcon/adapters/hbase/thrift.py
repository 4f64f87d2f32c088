"""The interface of HBase's gateway. happybase contains it: its module exists once happybase is imported."""

import happybase
from Hbase_thrift import (
    AlreadyExists,
    BatchMutation,
    ColumnDescriptor,
    Hbase,
    IllegalArgument,
    Mutation,
    TCell,
    TRowResult,
    TScan,
)
from Hbase_thrift import IOError as GatewayError

__all__ = [
    "AlreadyExists",
    "BatchMutation",
    "ColumnDescriptor",
    "GatewayError",
    "Hbase",
    "IllegalArgument",
    "Mutation",
    "TCell",
    "TRowResult",
    "TScan",
    "happybase",
]
