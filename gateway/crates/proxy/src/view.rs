//! Pingora's session, read in the hall's words.

use http::Version;
use http::header::{CONNECTION, UPGRADE};
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;

/// The target's path and query as bytes of the wire, and its authority: `:authority`, or the one of an
/// absolute-form target.
pub(crate) fn target(head: &RequestHeader) -> (&[u8], Option<&str>) {
    let raw = head.raw_path();
    if raw.starts_with(b"/") || raw == b"*" {
        return (raw, head.uri.authority().map(http::uri::Authority::as_str));
    }
    let Some(start) = raw.windows(3).position(|window| window == b"://") else {
        return (raw, None);
    };
    let rest = raw.get(start + 3..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.is_empty() { b"/" } else { path };
    (path, std::str::from_utf8(authority).ok())
}

/// The protocol an HTTP/1.1 client asks to switch to: only when `Connection` says that the wish is this client's own
/// (RFC 9110 section 7.8), and never in HTTP/1.0, whose clients cannot follow.
pub(crate) fn upgrade(session: &ServerSession) -> Option<&str> {
    let head = session.req_header();
    if head.version != Version::HTTP_11 {
        return None;
    }
    let is_own = head
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    is_own.then(|| head.headers.get(UPGRADE)?.to_str().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target_text: &str) -> (String, Option<String>) {
        let head = RequestHeader::build("GET", target_text.as_bytes(), None).unwrap();
        let (path, authority) = target(&head);
        (
            String::from_utf8_lossy(path).into_owned(),
            authority.map(str::to_owned),
        )
    }

    #[test]
    fn an_origin_form_target_is_taken_as_it_is() {
        assert_eq!(parts("/a%2Fb?c=http://d/"), ("/a%2Fb?c=http://d/".into(), None));
    }

    #[test]
    fn an_absolute_form_target_gives_its_authority() {
        assert_eq!(parts("http://h:8/a?b"), ("/a?b".into(), Some("h:8".into())));
        assert_eq!(parts("http://h"), ("/".into(), Some("h".into())));
    }
}
