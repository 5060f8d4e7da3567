//! A request target from the network: what is accepted is canonical, and canonical text stays as it is.

#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use portcullis_model::path;
use portcullis_pipeline::plan::PathOddity;
use portcullis_pipeline::stages::normalize::{canonical_host, canonical_path, canonical_query, read_path};

fuzz_target!(|target: &[u8]| {
    let split = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (raw_path, rest) = target.split_at(split);
    if let Ok(accepted) = canonical_path(raw_path) {
        assert!(accepted.starts_with('/') && accepted.is_ascii());
        let all: Vec<&str> = path::segments(&accepted).collect();
        for (index, segment) in all.iter().enumerate() {
            assert!(!segment.is_empty() || index + 1 == all.len(), "{accepted}");
            let decoded = path::decode(segment);
            assert!(!matches!(&*decoded, "." | ".."), "{accepted}");
            assert!(!decoded.contains(['/', '\\', ';']) && !decoded.chars().any(char::is_control), "{accepted}");
        }
        assert_eq!(canonical_path(accepted.as_bytes()).as_deref(), Ok(&*accepted));
    }
    // What a route may allow is canonical too, and no opt-in lets a dot segment or a control byte in.
    if let Ok((odd, oddities)) = read_path(raw_path)
        && oddities.within(PathOddity::ALL.into_iter().collect()).is_ok()
    {
        assert_eq!(read_path(odd.as_bytes()).as_ref().map(|(text, _)| &**text), Ok(&*odd));
        let mut layer = odd.clone().into_owned();
        for _ in 0..if oddities.is_empty() { 1 } else { 4 } {
            layer = path::decode(&layer).into_owned();
            assert!(!layer.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")), "{odd}");
            assert!(!layer.chars().any(|letter| letter.is_ascii_control()), "{odd}");
        }
    }
    if let Ok(query) = canonical_query(rest.strip_prefix(b"?").unwrap_or(rest)) {
        assert_eq!(canonical_query(query.text.as_bytes()).as_ref(), Ok(&query));
    }
    if let Ok(authority) = std::str::from_utf8(target) {
        let _ = canonical_host(Some(authority), &HeaderMap::new());
    }
});
