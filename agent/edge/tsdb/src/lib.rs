//! The time series store: head in memory, write-ahead log on disk.
