//! Asks a running gateway's admin port.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

/// The admin port is near.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum AdminFault {
    #[error("\"{0}\" is not the URL of an admin port, as in http://127.0.0.1:9901")]
    Url(String),
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot ask the admin port at {0}")]
    Call(String, #[source] reqwest::Error),
    #[error("the admin port at {0} answers {1}")]
    Status(String, u16),
}

/// The JSON at a path of the admin port.
pub(super) fn get(admin: &str, path: &str) -> Result<Value, AdminFault> {
    let base = url::Url::parse(admin).map_err(|_| AdminFault::Url(admin.to_owned()))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(AdminFault::Url(admin.to_owned()));
    }
    let url = base.join(path).map_err(|_| AdminFault::Url(admin.to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AdminFault::Runtime)?;
    runtime.block_on(async {
        let fault = |cause: reqwest::Error| AdminFault::Call(admin.to_owned(), cause.without_url());
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(fault)?;
        let response = client.get(url).send().await.map_err(fault)?;
        if !response.status().is_success() {
            return Err(AdminFault::Status(admin.to_owned(), response.status().as_u16()));
        }
        response.json().await.map_err(fault)
    })
}
