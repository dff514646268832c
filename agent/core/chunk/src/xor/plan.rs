//! Which windows to write a column's changes in.
//!
//! A new window costs eleven bits more than going on with the one before, and each change costs the
//! length of the window it is written in. The cheapest series of windows is found by going through
//! the changes with a few candidates: a window is worth keeping only while it is less than eleven
//! bits behind the best, since one can always go over to it for eleven bits.

use std::ops::Range;

use crate::window::Window;

/// What a new window costs more than the former one.
const NEW_WINDOW_BITS: u32 = 11;

/// Finds windows; keeps its memory for the next column.
#[derive(Debug, Default)]
pub(super) struct Planner {
    /// For each change the windows that contain it and 0, 1, 2, … of those after it, narrowest first.
    growths: Vec<Window>,
    /// Each change's part of `growths`.
    growth_ranges: Vec<Range<usize>>,
    candidates: Vec<Candidate>,
    introductions: Vec<Introduction>,
}

/// A window that might be in force after the change just looked at.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    window: Window,
    cost_bits: u32,
    /// Where it was introduced, as an index of `introductions`.
    introduction: usize,
}

#[derive(Clone, Copy, Debug)]
struct Introduction {
    change: usize,
    window: Window,
    /// The introduction before it.
    previous: Option<usize>,
}

impl Planner {
    /// The windows to introduce, as index of the change and window, by descending index. `changes` are
    /// the narrowest windows of the changes that aren't zero.
    pub(super) fn plan(&mut self, changes: &[Window], plan: &mut Vec<(usize, Window)>) {
        plan.clear();
        self.find_growths(changes);
        self.candidates.clear();
        self.introductions.clear();
        let mut best = None;
        for (index, own) in changes.iter().enumerate() {
            best = self.look_at(index, *own, best);
        }
        let mut at = best.map(|best| best.introduction);
        while let Some(introduction) = at.and_then(|at| self.introductions.get(at)) {
            plan.push((introduction.change, introduction.window));
            at = introduction.previous;
        }
    }

    /// Goes from the last change to the first, as each part builds on the one after.
    fn find_growths(&mut self, changes: &[Window]) {
        self.growths.clear();
        self.growth_ranges.clear();
        let mut later = 0..0;
        for own in changes.iter().rev() {
            // Wider, it would be cheaper to leave the window for this change and to come back.
            let most_bits = own.length() + 2 * NEW_WINDOW_BITS;
            let start = self.growths.len();
            self.growths.push(*own);
            let mut widest = *own;
            for index in later {
                let Some(grown) = self.growths.get(index).map(|grown| grown.joined(*own)) else {
                    break;
                };
                if grown.length() >= most_bits {
                    break;
                }
                if grown != widest {
                    self.growths.push(grown);
                    widest = grown;
                }
            }
            later = start..self.growths.len();
            self.growth_ranges.push(later.clone());
        }
        self.growth_ranges.reverse();
    }

    /// Brings the candidates behind a change; gives the best of them, and takes the best before it.
    fn look_at(
        &mut self,
        index: usize,
        own: Window,
        before: Option<Candidate>,
    ) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        let is_better = |cost_bits: u32, best: Option<Candidate>| {
            best.is_none_or(|best| cost_bits < best.cost_bits)
        };
        self.candidates.retain_mut(|candidate| {
            candidate.cost_bits += candidate.window.length();
            let stays = candidate.window.contains(own);
            if stays && is_better(candidate.cost_bits, best) {
                best = Some(*candidate);
            }
            stays
        });
        let base_bits = before.map_or(0, |best| best.cost_bits) + NEW_WINDOW_BITS;
        let previous = before.map(|best| best.introduction);
        for at in self.growth_ranges.get(index).cloned().unwrap_or_default() {
            let Some(window) = self.growths.get(at).copied() else {
                break;
            };
            let cost_bits = base_bits + window.length();
            if best.is_some_and(|best| cost_bits >= best.cost_bits + NEW_WINDOW_BITS) {
                break;
            }
            let introduced = Candidate {
                window,
                cost_bits,
                introduction: self.introductions.len(),
            };
            if is_better(cost_bits, best) {
                best = Some(introduced);
            }
            self.introduce(introduced, index, previous);
        }
        let worth_bits = best.map_or(0, |best| best.cost_bits) + NEW_WINDOW_BITS;
        self.candidates
            .retain(|candidate| candidate.cost_bits < worth_bits);
        best
    }

    /// Takes a candidate in, unless there is as cheap a one with its window.
    fn introduce(&mut self, introduced: Candidate, change: usize, previous: Option<usize>) {
        let window = introduced.window;
        let mut candidates = self.candidates.iter_mut();
        match candidates.find(|known| known.window == window) {
            Some(known) if known.cost_bits <= introduced.cost_bits => return,
            Some(known) => *known = introduced,
            None => self.candidates.push(introduced),
        }
        self.introductions.push(Introduction {
            change,
            window,
            previous,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a plan costs, without what each change costs in any window.
    fn cost_bits(changes: &[Window], mut plan: Vec<(usize, Window)>) -> u32 {
        let mut window = Window::NONE;
        let mut cost_bits = 0;
        for (index, own) in changes.iter().enumerate() {
            if let Some((_, introduced)) = plan.pop_if(|(at, _)| *at == index) {
                window = introduced;
                cost_bits += NEW_WINDOW_BITS;
            }
            assert!(window.contains(*own), "change {index}");
            cost_bits += window.length();
        }
        assert!(plan.is_empty());
        cost_bits
    }

    /// The least of all ways to divide the changes into runs of one window each.
    fn least_cost_bits(changes: &[Window]) -> u32 {
        let mut least = vec![0];
        for end in 1..=changes.len() {
            let mut window = changes[end - 1];
            let ways = (0..end).rev().map(|start| {
                window = window.joined(changes[start]);
                let length = (end - start) as u32;
                least[start] + NEW_WINDOW_BITS + length * window.length()
            });
            let best = ways.min().unwrap();
            least.push(best);
        }
        *least.last().unwrap()
    }

    fn changes() -> impl Strategy<Value = Vec<Window>> {
        let bits = prop_oneof![
            any::<u64>(),
            (any::<u64>(), 0u32..64).prop_map(|(bits, shift)| bits << shift),
            (any::<u64>(), 0u32..64, 0u32..64)
                .prop_map(|(bits, left, right)| bits << left >> right),
            (0u32..52, 1u64..1000).prop_map(|(shift, low)| low << shift),
            (30u32..40, 1u64..64).prop_map(|(shift, low)| low << shift),
        ];
        let changes = prop::collection::vec(bits.prop_map(|bits| Window::of(bits.max(1))), 0..60);
        changes.prop_flat_map(|changes| {
            // Runs of alike changes, as columns have them.
            let repeats = prop::collection::vec(1usize..6, changes.len());
            repeats.prop_map(move |repeats| {
                let runs = changes.iter().zip(repeats);
                runs.flat_map(|(window, times)| vec![*window; times])
                    .collect()
            })
        })
    }

    proptest! {
        #[test]
        fn no_other_windows_are_cheaper(changes in changes()) {
            let (mut planner, mut plan) = (Planner::default(), vec![(7, Window::NONE)]);
            planner.plan(&changes, &mut plan);
            prop_assert_eq!(cost_bits(&changes, plan), least_cost_bits(&changes));
        }
    }
}
