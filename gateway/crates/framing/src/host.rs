//! Whom a request names: exactly one host, said once or twice alike.

use portcullis_model::Reason;

use crate::class::{self, HOST};
use crate::fault::Fault;

/// The authority of a target in absolute form; `None` for a path and for `*`.
pub(crate) fn authority(target: &[u8]) -> Result<Option<&[u8]>, Fault> {
    if target.starts_with(b"/") || target == b"*" {
        return Ok(None);
    }
    let invalid = Fault::new(Reason::TargetInvalid, "request target form");
    let rest = strip_scheme(target).ok_or(invalid)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    if authority.is_empty() || authority.contains(&b'@') {
        return Err(invalid);
    }
    Ok(Some(authority))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Checks that `Host` and the target's authority name one host (RFC 9112 section 3.2).
pub(crate) fn check(host: Option<&[u8]>, authority: Option<&[u8]>, is_http10: bool) -> Result<(), Fault> {
    let host = match (host, authority) {
        (Some(host), None) => host,
        // Only HTTP/1.0 has requests without the field.
        (None, Some(authority)) if is_http10 => authority,
        (None, _) => return Err(Fault::new(Reason::HostMissing, "no Host")),
        (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority) => host,
        (Some(_), Some(_)) => {
            return Err(Fault::new(
                Reason::HostAmbiguous,
                "Host is not the target's authority",
            ));
        }
    };
    if host.is_empty() {
        return Err(Fault::new(Reason::HostMissing, "empty Host"));
    }
    if class::span_of(host, HOST) != host.len() {
        return Err(Fault::new(Reason::HostInvalid, "Host"));
    }
    Ok(())
}
