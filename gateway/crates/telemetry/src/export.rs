//! Metrics as the text that Prometheus scrapes.

use prometheus::{Encoder, Registry, TextEncoder};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything registered, in the Prometheus text format.
///
/// # Errors
/// Fails when a collector hands out a family that cannot be written, which is a defect of that collector.
pub fn text(registry: &Registry) -> Result<Vec<u8>, prometheus::Error> {
    let mut text = Vec::with_capacity(32 * 1024);
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_registered_family() {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("gates_total", "gates").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();

        counter.inc();

        assert!(
            String::from_utf8(text(&registry).unwrap())
                .unwrap()
                .contains("gates_total 1")
        );
        assert!(CONTENT_TYPE.starts_with("text/plain"));
    }
}
