//! Answers without a length for HTTP/1.0 clients: they know no chunks, so the end of the connection ends the body
//! (RFC 9112 section 7.1). Pingora would send them chunks all the same.

use std::any::Any;

use async_trait::async_trait;
use http::Version;
use http::header::TRANSFER_ENCODING;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};

/// Makes the module for every request.
pub(crate) struct Http10;

struct OneRequest {
    is_http10: bool,
}

impl HttpModuleBuilder for Http10 {
    fn init(&self) -> Module {
        Box::new(OneRequest { is_http10: false })
    }
}

#[async_trait]
impl HttpModule for OneRequest {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        self.is_http10 = request.version == Version::HTTP_10;
        Ok(())
    }

    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _: bool) -> Result<()> {
        if self.is_http10 {
            response.remove_header(&TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
