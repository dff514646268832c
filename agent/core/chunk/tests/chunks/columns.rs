//! Columns as scrapes give them, from a seed: what is measured and what properties are tried on.

/// A small generator of numbers; the same seed gives the same ones.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// From 0 to 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What a series is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Constant,
    Seldom,
    Counter,
    Seconds,
    Bytes,
    Decimals,
    Walk,
    Ratio,
}

/// Each kind with its share of a mixed page, in parts of 100.
pub(crate) const MIX: [(Kind, usize); 8] = [
    (Kind::Constant, 60),
    (Kind::Seldom, 8),
    (Kind::Counter, 12),
    (Kind::Seconds, 7),
    (Kind::Bytes, 4),
    (Kind::Decimals, 4),
    (Kind::Walk, 2),
    (Kind::Ratio, 3),
];

/// A column at 15 s; one timestamp in twenty is a few milliseconds off.
pub(crate) fn column(kind: Kind, samples: usize, random: &mut Random) -> (Vec<i64>, Vec<f64>) {
    let start = 1_700_000_000_000 + random.below(15_000) as i64;
    let times = (0..samples as i64).map(|index| {
        let off = match random.below(20) {
            0 => random.below(7) as i64 - 3,
            _ => 0,
        };
        start + index * 15_000 + off
    });
    let times = times.collect();
    let mut value = random.below(1_000_000) as f64;
    let per_step = random.below(500) + 1;
    let values = (0..samples).map(|_| {
        value = next_value(kind, value, per_step, random);
        value
    });
    (times, values.collect())
}

fn next_value(kind: Kind, value: f64, per_step: u64, random: &mut Random) -> f64 {
    match kind {
        Kind::Constant => value,
        Kind::Seldom if random.below(30) > 0 => value,
        Kind::Seldom => random.below(10) as f64,
        Kind::Counter => value + random.below(per_step) as f64,
        Kind::Seconds => value + random.below(per_step * 1_000_000) as f64 / 1e9,
        Kind::Bytes => (value + 4096.0 * (random.below(65) as f64 - 32.0)).abs(),
        Kind::Decimals => (2000.0 + 300.0 * random.part()).round() / 100.0,
        Kind::Walk => value + random.part() - 0.5,
        Kind::Ratio => random.below(per_step) as f64 / per_step as f64,
    }
}
