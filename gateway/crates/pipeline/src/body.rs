//! A request body on its way: streamed under a bound, or held until its contract is satisfied.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_admission::contract::{BodyGate, Operation};
use portcullis_model::{Mode, Origin, Reason, Rejection};

use crate::boards::HeldShare;

/// How the body of an admitted request is treated.
pub(crate) enum BodyState {
    /// Passed on as it comes, up to a size.
    Stream {
        /// The route's limit.
        max: Option<u64>,
        /// Bytes so far.
        seen: u64,
    },
    /// Held: nothing of the request, not even its head, leaves before the verdict.
    Held(Box<HeldBody>),
    /// Judged; these are the bytes, for this attempt and the next.
    Released(Bytes),
}

/// A body under judgement.
pub(crate) struct HeldBody {
    pub(crate) operation: Arc<Operation>,
    pub(crate) gate: BodyGate,
    pub(crate) max: u64,
    pub(crate) share: HeldShare,
    /// The contract that decides.
    pub(crate) origin: Origin,
    /// True when the verdict is only recorded.
    pub(crate) is_observed: bool,
    /// For a gate in observe mode: what was received, whatever the gate thinks of it.
    pub(crate) received: Vec<u8>,
    /// The gate's verdict so far, when it is only recorded.
    pub(crate) observed: Option<Rejection>,
}

/// What the traffic's door has to do with the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyPlan {
    /// Pass it on; tell the exchange each length.
    Stream,
    /// Hold the outgoing head and feed the exchange until it releases the whole body.
    Cork,
}

impl BodyState {
    /// What the door has to do.
    pub(crate) const fn plan(&self) -> BodyPlan {
        match self {
            Self::Stream { .. } => BodyPlan::Stream,
            Self::Held(_) | Self::Released(_) => BodyPlan::Cork,
        }
    }

    /// Whether a held body's verdict counts; `None` when nothing is held.
    pub(crate) const fn judged_in(&self) -> Option<Mode> {
        match self {
            Self::Held(held) if held.is_observed => Some(Mode::Observe),
            Self::Held(_) => Some(Mode::Enforce),
            Self::Stream { .. } | Self::Released(_) => None,
        }
    }

    /// Counts streamed bytes.
    pub(crate) fn stream(&mut self, len: usize) -> Result<(), Rejection> {
        let Self::Stream { max, seen } = self else {
            return Ok(());
        };
        *seen += len as u64;
        match max {
            Some(max) if *seen > *max => Err(Rejection::new(Reason::BodyTooLarge)),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes a piece of a held body.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Rejection> {
        let Self::Held(held) = self else {
            return Ok(());
        };
        held.push(piece)
    }

    /// Judges the whole body; the observed verdict comes with it when it is only recorded.
    pub(crate) fn finish(&mut self) -> Result<(Bytes, Option<Rejection>), Rejection> {
        match std::mem::replace(self, Self::Released(Bytes::new())) {
            Self::Held(held) => {
                let (bytes, observed) = held.finish()?;
                *self = Self::Released(bytes.clone());
                Ok((bytes, observed))
            }
            Self::Released(bytes) => {
                *self = Self::Released(bytes.clone());
                Ok((bytes, None))
            }
            stream @ Self::Stream { .. } => {
                *self = stream;
                Ok((Bytes::new(), None))
            }
        }
    }
}

impl HeldBody {
    /// Forgets what was read; a new gate judges it again.
    pub(crate) fn restart(&mut self, gate: BodyGate) {
        self.gate = gate;
        self.received.clear();
        self.observed = None;
        self.share.release();
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Rejection> {
        if !self.share.grow(piece.len()) {
            return Err(Rejection::new(Reason::HeldBodiesFull));
        }
        if !self.is_observed {
            return self
                .gate
                .push(piece)
                .map_err(|rejection| rejection.decided_by(&self.origin));
        }
        if (self.received.len() + piece.len()) as u64 > self.max {
            return Err(Rejection::new(Reason::BodyTooLarge));
        }
        self.received.extend_from_slice(piece);
        if self.observed.is_none() {
            self.observed = self.gate.push(piece).err();
        }
        Ok(())
    }

    fn finish(self) -> Result<(Bytes, Option<Rejection>), Rejection> {
        let Self {
            gate,
            is_observed,
            received,
            observed,
            origin,
            ..
        } = self;
        if !is_observed {
            let body = gate.finish().map_err(|rejection| rejection.decided_by(&origin))?;
            return Ok((body.bytes, None));
        }
        let observed = observed.or_else(|| gate.finish().err());
        Ok((Bytes::from(received), observed))
    }
}
