//! What becomes of the lists that arrive: read and proven aside, then taken one by one.
//!
//! Lists travel over plain HTTP (RFC 5280 section 8), so that whoever stands on the way may send an older list again,
//! or one that somebody else signed. A list that an issuer's key was found to have signed therefore stays, also past
//! its end, until a newer one of the same signer takes its place. All others are replaced by what comes next.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::fault::CrlFault;
use super::list::{RevocationList, read_document};

/// What became of a document that was fetched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Arrival {
    /// What is held is another than before.
    pub(super) is_changed: bool,
    /// How many of its lists are older than those held, which stay.
    pub(super) older: usize,
    /// For how many of its lists there is no room.
    pub(super) beyond: usize,
}

/// Reads a document, and finds out what [`merge`] asks: whether its lists are signed as those held are. Both take as
/// long as the document does.
pub(super) fn read_beside(
    held: &[Arc<RevocationList>],
    document: &Bytes,
) -> Result<Vec<RevocationList>, CrlFault> {
    let lists = read_document(document)?;
    for held in held {
        let signers = held.proven_signers();
        for list in lists.iter().filter(|list| !list.is_same(held)) {
            order_of(list, held, &signers);
        }
    }
    Ok(lists)
}

/// What is held once these lists have arrived, of which no more than `room` are kept: those that proved themselves
/// first.
pub(super) fn merge(
    held: &[Arc<RevocationList>],
    arrived: Vec<RevocationList>,
    room: usize,
) -> (Vec<Arc<RevocationList>>, Arrival) {
    let mut arrival = Arrival::default();
    let mut news: Vec<_> = arrived.into_iter().map(|list| known(held, list)).collect();
    let mut kept = Vec::new();
    for held in held {
        let signers = held.proven_signers();
        let is_same = |list: &Arc<RevocationList>| Arc::ptr_eq(list, held);
        if signers.is_empty() || news.iter().any(is_same) {
            continue;
        }
        news.retain(|list| {
            let is_older = order_of(list, held, &signers) == Some(Ordering::Less);
            arrival.older += usize::from(is_older);
            !is_older
        });
        if !news.iter().any(|list| order_of(list, held, &signers).is_some()) {
            kept.push(Arc::clone(held));
        }
    }
    if news.is_empty() {
        // Nothing but older lists is no reason to let go of anything.
        return (held.to_vec(), arrival);
    }
    let (proven, others): (Vec<_>, Vec<_>) = news
        .into_iter()
        .partition(|list| !list.proven_signers().is_empty());
    let mut lists = kept;
    lists.extend(proven);
    let free = room.saturating_sub(lists.len());
    arrival.beyond = others.len().saturating_sub(free);
    lists.extend(others.into_iter().take(free));
    let is_held = |list: &Arc<RevocationList>| held.iter().any(|held| Arc::ptr_eq(held, list));
    arrival.is_changed = lists.len() != held.len() || !lists.iter().all(is_held);
    (lists, arrival)
}

/// The list itself, or the same one that is held, which knows already whose it is.
fn known(held: &[Arc<RevocationList>], list: RevocationList) -> Arc<RevocationList> {
    match held.iter().find(|held| list.is_same(held)) {
        Some(held) => Arc::clone(held),
        None => Arc::new(list),
    }
}

/// How a list compares as news with one held that these keys signed; `None` when it is none of theirs, or speaks for
/// others.
fn order_of(list: &RevocationList, held: &RevocationList, signers: &[Bytes]) -> Option<Ordering> {
    let order = list.newer_than(held)?;
    signers.iter().any(|key| list.is_signed_by(key)).then_some(order)
}
