//! Stands in for the checksum while fuzzing: a fuzzer cannot guess right checksums, so that without
//! this it would never see what lies behind them. Here every checksum is 0.

pub fn crc32c(_: &[u8]) -> u32 {
    0
}

pub fn crc32c_append(_: u32, _: &[u8]) -> u32 {
    0
}
