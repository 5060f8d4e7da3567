//! Loading again while running: nothing, everything, or the old one with the reasons.

use portcullis_model::Problems;

/// What became of a reload.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// The configuration means what it meant before; nothing was touched.
    Unchanged,
    /// A new snapshot serves.
    Published {
        /// Its revision.
        revision: String,
        /// What is probably not meant.
        warnings: Problems,
    },
    /// The previous snapshot goes on serving.
    Kept {
        /// Why.
        problems: Problems,
    },
}
