//! The newest samples in memory, and the records that bring them back.
