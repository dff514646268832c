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
        for (index, own) in changes.iter().enumerate() {
            self.look_at(index, *own);
        }
        let best = self.best().map(|best| best.introduction);
        let mut at = best.and_then(|best| self.introductions.get(best));
        while let Some(introduction) = at {
            plan.push((introduction.change, introduction.window));
            at = introduction
                .previous
                .and_then(|previous| self.introductions.get(previous));
        }
    }

    /// Goes from the last change to the first, as each part builds on the one after.
    fn find_growths(&mut self, changes: &[Window]) {
        self.growths.clear();
        self.growth_ranges.clear();
        let mut later = 0..0;
        for own in changes.iter().rev() {
            let start = self.growths.len();
            self.growths.push(*own);
            let mut widest = *own;
            for index in later {
                let grown = self.growths.get(index).map(|grown| grown.joined(*own));
                if let Some(grown) = grown
                    && grown != widest
                {
                    self.growths.push(grown);
                    widest = grown;
                }
            }
            later = start..self.growths.len();
            self.growth_ranges.push(later.clone());
        }
        self.growth_ranges.reverse();
    }

    fn best(&self) -> Option<Candidate> {
        let candidates = self.candidates.iter().copied();
        candidates.min_by_key(|candidate| candidate.cost_bits)
    }

    fn look_at(&mut self, index: usize, own: Window) {
        let before = self.best();
        self.candidates.retain_mut(|candidate| {
            candidate.cost_bits += candidate.window.length();
            candidate.window.contains(own)
        });
        let base_bits = before.map_or(0, |best| best.cost_bits) + NEW_WINDOW_BITS;
        let kept_bits = self.best().map_or(u32::MAX, |best| best.cost_bits);
        let least_bits = kept_bits.min(base_bits + own.length());
        for at in self.growth_ranges.get(index).cloned().unwrap_or_default() {
            let Some(window) = self.growths.get(at).copied() else {
                break;
            };
            let cost_bits = base_bits + window.length();
            if cost_bits >= least_bits + NEW_WINDOW_BITS {
                break;
            }
            self.introduce(index, window, cost_bits, before);
        }
        self.candidates
            .retain(|candidate| candidate.cost_bits < least_bits + NEW_WINDOW_BITS);
    }

    fn introduce(
        &mut self,
        change: usize,
        window: Window,
        cost_bits: u32,
        before: Option<Candidate>,
    ) {
        let same = self
            .candidates
            .iter()
            .position(|known| known.window == window);
        if let Some(same) = same {
            let known = self.candidates.get(same);
            if known.is_some_and(|known| known.cost_bits <= cost_bits) {
                return;
            }
            self.candidates.swap_remove(same);
        }
        self.candidates.push(Candidate {
            window,
            cost_bits,
            introduction: self.introductions.len(),
        });
        self.introductions.push(Introduction {
            change,
            window,
            previous: before.map(|before| before.introduction),
        });
    }
}
