//! Which of several usable endpoints: one file per strategy.

pub mod weighted;
