//! What Pingora asks of a byte stream beyond reading and writing; none of it is used on our streams.

/// Implements the small traits of Pingora's `IO` for a stream whose life belongs to us: shutting it down only
/// flushes it, and everything else is left empty.
macro_rules! pingora_stream {
    ($name:ty) => {
        #[async_trait::async_trait]
        impl pingora_core::protocols::Shutdown for $name {
            async fn shutdown(&mut self) {
                // A peer that is gone cannot be flushed to; the owner of the socket closes it either way.
                let _ = tokio::io::AsyncWriteExt::flush(self).await;
            }
        }

        impl pingora_core::protocols::UniqueID for $name {
            fn id(&self) -> pingora_core::protocols::UniqueIDType {
                0
            }
        }

        impl pingora_core::protocols::Ssl for $name {}

        impl pingora_core::protocols::GetTimingDigest for $name {
            fn get_timing_digest(&self) -> Vec<Option<pingora_core::protocols::TimingDigest>> {
                Vec::new()
            }
        }

        impl pingora_core::protocols::GetProxyDigest for $name {
            fn get_proxy_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
                None
            }
        }

        impl pingora_core::protocols::GetSocketDigest for $name {
            fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora_core::protocols::SocketDigest>> {
                None
            }
        }

        impl pingora_core::protocols::Peek for $name {}
    };
}

pub(crate) use pingora_stream;
