//! The functions, family by family. Those that slide over ranges are in [`super::range`].

pub(super) mod absent;
pub(super) mod histogram;
pub(super) mod info;
pub(super) mod labels;
pub(super) mod math;
pub(super) mod native;
pub(super) mod sort;
pub(super) mod time;
