//! A set of small numbers: a bit each.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// Empty, with room for the numbers below `count`.
    pub(crate) fn with_room(count: usize) -> Self {
        Bits(vec![0; count.div_ceil(64)])
    }

    /// Adds a number; true if it is new.
    #[inline]
    pub(crate) fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = place(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else {
            return false;
        };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    #[inline]
    pub(crate) fn contains(&self, number: usize) -> bool {
        let (word, bit) = place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The numbers that are in this set and not in the other, ascending.
    pub(crate) fn without<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = word & !other.0.get(at).copied().unwrap_or(0);
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

fn place(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn bits(numbers: &[usize]) -> Bits {
        let mut bits = Bits::default();
        for &number in numbers {
            bits.insert(number);
        }
        bits
    }

    #[test]
    fn it_is_a_set() {
        let numbers = [0, 63, 64, 65, 3, 1000, 64];
        let bits_of = bits(&numbers);
        let set: BTreeSet<usize> = numbers.into_iter().collect();
        for number in 0..1100 {
            assert_eq!(bits_of.contains(number), set.contains(&number), "{number}");
        }
        let all: Vec<usize> = bits_of.without(&Bits::default()).collect();
        assert_eq!(all, set.into_iter().collect::<Vec<_>>());
        let left: Vec<usize> = bits_of.without(&bits(&[0, 65, 2000])).collect();
        assert_eq!(left, [3, 63, 64, 1000]);
        assert!(Bits::with_room(5).insert(70) && !bits(&[7]).insert(7));
    }
}
