//! Block folders on disk: reading, writing, compaction, deletion, retention.
