//! The text formats that targets expose: read and write.
