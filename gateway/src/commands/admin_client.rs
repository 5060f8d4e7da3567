//! Asks a running gateway's admin port.

use std::time::Duration;

use http::Method;
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
    #[error("the admin port at {0} answers {1}{2}")]
    Status(String, u16, String),
}

impl AdminFault {
    /// True when the admin port was reached and says no.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Status(_, 400..=499, _))
    }
}

/// The JSON at a path of the admin port.
pub(super) fn get(admin: &str, path: &str) -> Result<Value, AdminFault> {
    send(Method::GET, admin, path, None)
}

/// Asks the admin port for a change; the JSON of its answer.
pub(super) fn send(
    method: Method,
    admin: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, AdminFault> {
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
        let mut request = client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(fault)?;
        let status = response.status();
        if !status.is_success() {
            // A refusal says why; what says nothing is told by its status.
            let problem: Value = response.json().await.unwrap_or_default();
            return Err(AdminFault::Status(
                admin.to_owned(),
                status.as_u16(),
                because(&problem),
            ));
        }
        response.json().await.map_err(fault)
    })
}

/// What a problem says, as the end of a sentence.
fn because(problem: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut said: Vec<String> = text(problem, "title").into_iter().collect();
    for problem in problem
        .get("problems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let hint = text(problem, "hint")
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        said.extend(text(problem, "message").map(|message| format!("{message}{hint}")));
    }
    if said.is_empty() {
        String::new()
    } else {
        format!(": {}", said.join(": "))
    }
}
