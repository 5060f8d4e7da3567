//! Whose word counts when several trusts are asked about one certificate: of handshakes, of open connections and of
//! routes alike.

/// Why one trust does not accept a certificate.
pub(crate) trait Refusal {
    /// How much that says.
    fn weight(&self) -> Weight;
}

/// How much a refusal says about the certificate; the later word says more.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Weight {
    /// It is not for this trust to say.
    Beside,
    /// This trust does not accept it; another one may.
    Telling,
    /// No other trust is asked: it found a path, and on it a certificate that was revoked, or of which that cannot be
    /// told. That another trust does not look up the same certificate makes it no better.
    Final,
}

/// Asks trusts in their order. Gives the first that accepts, with what it said; else the refusal that says most, the
/// first of several, with its trust, and `None` when there is no trust.
pub(crate) fn first_to_accept<T, A, R: Refusal>(
    trusts: impl IntoIterator<Item = T>,
    ask: impl Fn(&T) -> Result<A, R>,
) -> Result<(T, A), Option<(T, R)>> {
    let mut refused: Option<(T, R)> = None;
    for trust in trusts {
        match ask(&trust) {
            Ok(accepted) => return Ok((trust, accepted)),
            Err(refusal) if refusal.weight() == Weight::Final => return Err(Some((trust, refusal))),
            Err(refusal) => {
                let says_more = |(_, before): &(T, R)| before.weight() < refusal.weight();
                if refused.as_ref().is_none_or(says_more) {
                    refused = Some((trust, refusal));
                }
            }
        }
    }
    Err(refused)
}
