//! Random numbers that a seed brings back.
//!
//! `NARTHEX_FUZZ_ITERATIONS` sets how many seeds each test tries (a hundred without it),
//! `NARTHEX_FUZZ_SEED` the first one. The seed that fails is printed.

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

fn number_from(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Calls `test` with many seeds.
pub(crate) fn with_seeds(mut test: impl FnMut(&mut Random)) {
    struct Report(u64);
    impl Drop for Report {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with NARTHEX_FUZZ_SEED={}", self.0);
            }
        }
    }
    let first = number_from("NARTHEX_FUZZ_SEED", 1);
    let iterations = number_from("NARTHEX_FUZZ_ITERATIONS", 100);
    println!("seeds {first} to {}", first + iterations - 1);
    for seed in first..first + iterations {
        let report = Report(seed);
        test(&mut Random::new(seed));
        drop(report);
    }
}
