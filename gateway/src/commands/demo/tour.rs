//! The tour, printed for somebody to type or run by ourselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Method;
use reqwest::{Certificate, Client, Identity};
use serde_json::Value;

use super::DemoFault;
use super::regions::Region;
use super::steps::{Action, Call, Caller, Promise, Step, steps};
use crate::cli::{ConfigArgs, ExplainRequestArgs, Format};
use crate::commands::Exit;
use crate::output::Output;

/// How long a promise that needs health to notice may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at such a promise.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// What is explained at the end.
const EXPLAINED: &str = "/api/v1/appointments";
/// For one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Where everything is.
pub(super) struct Places {
    pub(super) folder: PathBuf,
    pub(super) gateway: String,
    pub(super) control: String,
}

/// Prints the tour as commands.
pub(super) fn print(places: &Places, output: &mut Output) {
    output.line(format!(
        "\nThe tour, for another terminal:\n    cd {}",
        shell(&places.folder)
    ));
    for (number, step) in (1..).zip(steps()) {
        output.line(format!("\n{number:2}. {}", step.title));
        output.line(format!("    {}", command(&step, places)));
        if let Action::Call(call) = &step.action {
            output.line(format!("    → {}", promise_text(&call.promise)));
        }
    }
}

/// Runs the tour and says how many promises were broken.
pub(super) async fn run(
    places: &Places,
    regions: &[Region],
    output: &mut Output,
) -> Result<usize, DemoFault> {
    let plain = client(&places.folder, false)?;
    let partner = client(&places.folder, true)?;
    let mut broken = 0;
    for (number, step) in (1..).zip(steps()) {
        output.line(format!("\n{number:2}. {}", step.title));
        output.line(format!("    $ {}", command(&step, places)));
        match &step.action {
            Action::Region { name, verb } => switch(regions, name, verb).await?,
            Action::Explain => broken += usize::from(!explain(places, output)),
            Action::Call(call) => {
                let client = if call.caller == Caller::Partner {
                    &partner
                } else {
                    &plain
                };
                let answer = answer(client, call, places).await?;
                output.line(format!("    {}", answer.text().replace('\n', "\n    ")));
                let differences = answer.differences(&call.promise);
                broken += usize::from(!differences.is_empty());
                let verdict = if differences.is_empty() {
                    format!("    ✓ {}", promise_text(&call.promise))
                } else {
                    format!(
                        "    ✗ promised {}; {}",
                        promise_text(&call.promise),
                        differences.join(", ")
                    )
                };
                output.line(verdict);
            }
        }
    }
    Ok(broken)
}

/// Asks `explain`, and says whether it refuses as the gateway did.
fn explain(places: &Places, output: &mut Output) -> bool {
    let args = ExplainRequestArgs {
        method: "GET".to_owned(),
        url: format!("{}{EXPLAINED}", places.gateway),
        headers: vec!["x-tenant: globex".to_owned()],
        token: Some(token_path(&places.folder, "alice")),
        claims: None,
        cert: None,
        body: None,
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        listener: None,
        config: ConfigArgs {
            config: Some(places.folder.join("portcullis.yaml")),
            region: None,
        },
        format: Format::Text,
    };
    super::super::explain::request(&args, output) == Exit::Problems
}

async fn switch(regions: &[Region], name: &str, verb: &str) -> Result<(), DemoFault> {
    let Some(region) = regions.iter().find(|region| region.name == name) else {
        return Ok(());
    };
    if verb == "stop" {
        region.stop().await;
        Ok(())
    } else {
        region.start().await
    }
}

fn client(folder: &Path, is_partner: bool) -> Result<Client, DemoFault> {
    let read = |name: &str| {
        let path = folder.join("pki").join(name);
        std::fs::read(&path).map_err(|cause| DemoFault::Read(path, cause))
    };
    let mut builder = Client::builder()
        .tls_certs_only([Certificate::from_pem(&read("ca.pem")?)?])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(CALL_TIMEOUT);
    if is_partner {
        let mut pem = read("partner.pem")?;
        pem.extend(read("partner.key")?);
        builder = builder.identity(Identity::from_pem(&pem)?);
    }
    Ok(builder.build()?)
}

/// What came back.
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

async fn answer(client: &Client, call: &Call, places: &Places) -> Result<Answer, DemoFault> {
    let deadline = Instant::now() + PATIENCE;
    for _ in 1..call.times {
        call_once(client, call, places).await?;
    }
    loop {
        let answer = call_once(client, call, places).await?;
        let is_done =
            !call.patient || answer.differences(&call.promise).is_empty() || Instant::now() >= deadline;
        if is_done {
            return Ok(answer);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn call_once(client: &Client, call: &Call, places: &Places) -> Result<Answer, DemoFault> {
    let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
    let mut request = client.request(method, format!("{}{}", places.gateway, call.path));
    if let Caller::Token(name) = call.caller {
        let path = token_path(&places.folder, name);
        let token = std::fs::read_to_string(&path).map_err(|cause| DemoFault::Read(path, cause))?;
        request = request.bearer_auth(token);
    }
    for (name, value) in call.headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    let response = request.send().await?;
    let fields = response.headers().iter();
    let fields = fields
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Ok(Answer {
        status: response.status().as_u16(),
        fields,
        body: response.text().await?,
    })
}

impl Answer {
    /// What of a promise was not kept.
    fn differences(&self, promise: &Promise) -> Vec<String> {
        let mut differences = Vec::new();
        if self.status != promise.status {
            differences.push(format!("the status is {}", self.status));
        }
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        if let Some(code) = promise.code
            && body.get("code").and_then(Value::as_str) != Some(code)
        {
            differences.push(format!(
                "the code is {}",
                body.get("code").unwrap_or(&Value::Null)
            ));
        }
        for (name, text) in promise.fields {
            let is_there = self
                .fields
                .iter()
                .any(|(field, value)| field == name && value.contains(text));
            if !is_there {
                differences.push(format!("no field {name} with \"{text}\""));
            }
        }
        for text in promise.body {
            if !self.body.contains(text) {
                differences.push(format!("no {text} in the body"));
            }
        }
        differences
    }

    /// The status, the fields worth reading, and the body, cut.
    fn text(&self) -> String {
        const WORTH_READING: &[&str] = &[
            "x-served-by",
            "www-authenticate",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
        ];
        let mut text = format!("HTTP {}", self.status);
        for (name, value) in &self.fields {
            if WORTH_READING.contains(&name.as_str()) {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        if !self.body.is_empty() {
            let cut: String = self.body.chars().take(600).collect();
            text.push_str(&format!("\n{cut}"));
        }
        text
    }
}

fn promise_text(promise: &Promise) -> String {
    let mut text = promise.status.to_string();
    if let Some(code) = promise.code {
        text.push_str(&format!(" {code}"));
    }
    for (name, value) in promise.fields {
        let part = if value.is_empty() {
            format!(", with {name}")
        } else {
            format!(", {name}: {value}")
        };
        text.push_str(&part);
    }
    for part in promise.body {
        text.push_str(&format!(", {part} in the body"));
    }
    text
}

/// The step as a command for a shell.
fn command(step: &Step, places: &Places) -> String {
    let call = match &step.action {
        Action::Region { name, verb } => {
            return format!("curl -X POST {}/regions/{name}/{verb}", places.control);
        }
        Action::Explain => {
            let request = format!("GET {}{EXPLAINED} -H 'x-tenant: globex'", places.gateway);
            // Whoever built it with cargo has no `portcullis` on the search path.
            let program = std::env::current_exe().map_or("portcullis".to_owned(), |path| shell(&path));
            return format!("{program} explain request {request} --token tokens/alice.jwt");
        }
        Action::Call(call) => call,
    };
    let mut text = "curl -i --path-as-is --cacert pki/ca.pem".to_owned();
    if call.method != "GET" {
        text.push_str(&format!(" -X {}", call.method));
    }
    match call.caller {
        Caller::Nobody => {}
        Caller::Token(name) => {
            text.push_str(&format!(" -H \"authorization: Bearer $(cat tokens/{name}.jwt)\""));
        }
        Caller::Partner => text.push_str(" --cert pki/partner.pem --key pki/partner.key"),
    }
    for (name, value) in call.headers {
        text.push_str(&format!(" -H '{name}: {value}'"));
    }
    if let Some(body) = &call.body {
        text.push_str(&format!(" -d '{body}'"));
    }
    text.push_str(&format!(" {}{}", places.gateway, call.path));
    if call.times > 1 {
        format!("for i in $(seq {}); do {text}; done", call.times)
    } else {
        text
    }
}

fn token_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("tokens").join(format!("{name}.jwt"))
}

/// A path as one word of a POSIX shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if is_plain {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
