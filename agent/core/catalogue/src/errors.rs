//! Why the catalogue refused.

use narthex_model::CancelReason;

/// The search was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search for series was stopped")]
pub struct Canceled(pub CancelReason);

/// Why a series was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    #[error("the label set is empty")]
    NoLabels,
    /// Names not ascending, an empty value, or an index outside the table.
    #[error("the labels are not sorted by name, or one has no value")]
    NotALabelSet,
    #[error("{0} labels are more than a series can have")]
    TooManyLabels(usize),
    #[error("series id {0} is in use")]
    IdInUse(u32),
    /// The series that has these labels.
    #[error("the labels are those of series {0}")]
    LabelsInUse(u32),
    #[error("no room for series {0}: the catalogue is full")]
    Full(u32),
}

/// Why bytes are no catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("the catalogue's format is version {0}, which this program does not know")]
    Version(u32),
    #[error("the catalogue is damaged: {0}")]
    Damaged(&'static str),
}
