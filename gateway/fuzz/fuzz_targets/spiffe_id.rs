//! A certificate from the network: reading it never panics, and an identity it proves is a valid SPIFFE ID that
//! reads back as itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_identity::PeerIdentity;
use portcullis_model::SpiffeId;
use rustls_pki_types::CertificateDer;

fuzz_target!(|bytes: &[u8]| {
    let chain = [CertificateDer::from(bytes)];
    if let Ok(id) = &PeerIdentity::from_chain(&chain).spiffe_id {
        assert_reads_back(id);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = SpiffeId::new(text)
    {
        assert_reads_back(&id);
    }
});

fn assert_reads_back(id: &SpiffeId) {
    let text = id.to_string();
    assert!(text.starts_with("spiffe://"));
    assert!(!text.contains(['%', '?', '#', '\0', ' ']), "{text}");
    assert_eq!(SpiffeId::new(&text).as_ref(), Ok(id));
}
