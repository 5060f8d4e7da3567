//! A hypothetical request through the pipeline's own functions: nothing is sent, nothing is fetched.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use portcullis_config::Refused;
use portcullis_identity::PeerIdentity;
use portcullis_identity::plan::ClientCertificates;
use portcullis_model::{ListenerId, Rejection, UrlScheme};
use portcullis_pipeline::body::BodyPlan;
use portcullis_pipeline::plan::{ListenerPlan, ListenerRole};
use portcullis_pipeline::{
    Admission, ConnectionFacts, DecisionRecord, Exchange, Gateway, Now, RawHead, RecordSink, SnapshotStore,
    TlsFacts,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use thiserror::Error;

use super::authentication;
use super::claims::{self, ClaimsFault};
use super::report::{Explanation, Fetches, Outcome};
use super::url::{TypedUrl, UrlFault};
use crate::cli::ExplainRequestArgs;
use crate::commands::input::{self, InputFault};
use crate::configuration::{Rehearsal, Selection};

/// The largest file that is read for `--body`.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Why there is no explanation.
#[derive(Debug, Error)]
pub(super) enum ExplainFault {
    #[error(transparent)]
    Url(#[from] UrlFault),
    #[error("\"{0}\" is not a method")]
    Method(String),
    #[error("\"{0}\" is not a field, as in 'x-tenant: a'")]
    Field(String),
    #[error(transparent)]
    Input(#[from] InputFault),
    #[error("\"{}\" is not JSON", .0.display())]
    NotJson(PathBuf, #[source] serde_json::Error),
    #[error("\"{}\" holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    #[error("the token does not fit a header field")]
    Token,
    #[error(transparent)]
    Claims(#[from] ClaimsFault),
    #[error("the configuration has problems")]
    Configuration(Box<Refused>),
    #[error("no listener \"{0}\" serves routes (there are {1})")]
    Listener(String, String),
    #[error("no listener serves {0} (there are {1})")]
    Scheme(&'static str, String),
    #[error("listener \"{0}\" ends the handshake of a client without a certificate (give one with --cert)")]
    CertificateRequired(String),
    #[error("the pipeline waited for something while rehearsing")]
    Waited,
}

impl From<Refused> for ExplainFault {
    fn from(refused: Refused) -> Self {
        Self::Configuration(Box::new(refused))
    }
}

/// The request as asked on the command line, files read.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) url: TypedUrl,
    headers: HeaderMap,
    claims: Option<Value>,
    chain: Vec<CertificateDer<'static>>,
    body: Option<Vec<u8>>,
    client: SocketAddr,
    listener: Option<String>,
}

impl Asked {
    /// Reads every file that the arguments name.
    pub(super) fn read(args: &ExplainRequestArgs) -> Result<Self, ExplainFault> {
        let url = TypedUrl::parse(&args.url)?;
        let method = Method::from_str(&args.method).map_err(|_| ExplainFault::Method(args.method.clone()))?;
        let mut headers = HeaderMap::new();
        for field in &args.headers {
            let (name, value) = parse_field(field).ok_or_else(|| ExplainFault::Field(field.clone()))?;
            headers.append(name, value);
        }
        if let Some(path) = &args.token {
            let token = String::from_utf8(input::read(path, MAX_BODY)?).map_err(|_| ExplainFault::Token)?;
            headers.insert(AUTHORIZATION, bearer(token.trim())?);
        }
        let claims = args.claims.as_deref().map(read_claims).transpose()?;
        let chain = args
            .cert
            .as_deref()
            .map(read_chain)
            .transpose()?
            .unwrap_or_default();
        let body = args
            .body
            .as_deref()
            .map(|path| input::read(path, MAX_BODY))
            .transpose()?;
        if let Some(body) = &body
            && !headers.contains_key(CONTENT_LENGTH)
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if !headers.contains_key(HOST) {
            let host =
                HeaderValue::from_str(&url.authority).map_err(|_| ExplainFault::Field(args.url.clone()))?;
            headers.insert(HOST, host);
        }
        // A documentation port: clients come from any.
        let client = SocketAddr::new(args.client, 50_000);
        Ok(Self {
            method,
            url,
            headers,
            claims,
            chain,
            body,
            client,
            listener: args.listener.clone(),
        })
    }

    /// What the explanation takes for granted.
    pub(super) fn assumptions(&self) -> Vec<String> {
        let mut assumed = vec![
            "every endpoint is healthy".to_owned(),
            "no rate limit was used before".to_owned(),
            format!("the client is {}", self.client.ip()),
        ];
        if self.claims.is_some() {
            assumed.push("the claims are proven; no signature of the issuer was checked".to_owned());
        }
        if !self.chain.is_empty() {
            assumed.push(
                "the client holds the private key of its certificate, and the listener asks for one"
                    .to_owned(),
            );
        }
        assumed
    }
}

fn parse_field(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((
        HeaderName::from_str(name.trim()).ok()?,
        HeaderValue::from_str(value.trim()).ok()?,
    ))
}

fn bearer(token: &str) -> Result<HeaderValue, ExplainFault> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ExplainFault::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_claims(path: &Path) -> Result<Value, ExplainFault> {
    serde_json::from_slice(&input::read(path, MAX_BODY)?)
        .map_err(|cause| ExplainFault::NotJson(path.to_owned(), cause))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ExplainFault> {
    let pem = input::read(path, MAX_BODY)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        Err(ExplainFault::NoCertificate(path.to_owned()))
    } else {
        Ok(chain)
    }
}

/// Walks the request through every stage.
pub(super) fn explain(selection: &Selection, asked: &Asked) -> Result<Explanation, ExplainFault> {
    let mut headers = asked.headers.clone();
    let rehearsal = match &asked.claims {
        None => selection.rehearse()?,
        Some(claims) => {
            let mut fault = None;
            let rehearsal = selection.rehearse_with(|plan| match claims::assume(&plan, claims) {
                Ok((plan, token)) => {
                    fault = bearer(&token)
                        .map(|value| headers.insert(AUTHORIZATION, value))
                        .err();
                    Arc::new(plan)
                }
                Err(cause) => {
                    fault = Some(cause.into());
                    plan
                }
            })?;
            fault.map_or(Ok(rehearsal), Err)?
        }
    };
    let listener = find_listener(&rehearsal, asked)?.id.clone();
    let fetches = Fetches::stand_in(&rehearsal);
    let asks = client_certificates(&rehearsal, &listener, &asked.url.host());
    if asks == ClientCertificates::Require && asked.chain.is_empty() {
        return Err(ExplainFault::CertificateRequired(listener.to_string()));
    }
    let connection = Arc::new(connection(listener, asked, asks));
    let Rehearsal {
        snapshot,
        boards,
        warnings,
        ..
    } = rehearsal;
    let store = Arc::new(SnapshotStore::new(snapshot));
    let gateway = Arc::new(Gateway::new(store, boards, Arc::new(NoRecord), now, rand::random));
    let mut exchange = gateway.begin(connection);
    exchange.rehearse();
    let outcome = walk(&mut exchange, asked, &headers)?;
    // A certificate that nobody asks for never leaves the client.
    let chain = if asks == ClientCertificates::Off {
        &[][..]
    } else {
        asked.chain.as_slice()
    };
    let authentication = authentication::examine(&exchange, &headers, chain, SystemTime::now());
    let explanation = Explanation::new(asked, &exchange, outcome, fetches, &warnings);
    let is_refused = ends_in_handshake(&exchange, asked, chain);
    Ok(Explanation {
        handshake: is_refused.then_some("refused"),
        ..explanation.with_authentication(authentication)
    })
}

fn walk(exchange: &mut Exchange, asked: &Asked, headers: &HeaderMap) -> Result<Outcome, ExplainFault> {
    let raw = RawHead {
        method: &asked.method,
        target: asked.url.target.as_bytes(),
        authority: None,
        headers,
        version: Version::HTTP_11,
        upgrade: headers
            .get(http::header::UPGRADE)
            .and_then(|value| value.to_str().ok()),
        has_body: asked.body.as_ref().is_some_and(|body| !body.is_empty()),
    };
    let body = asked.body.as_deref().unwrap_or_default();
    // Offline, nothing may wait: the future is ready at the first poll.
    let admission = exchange.admit(raw).now_or_never().ok_or(ExplainFault::Waited)?;
    let admission = match admission {
        Ok(Admission::NeedsBody { .. }) => exchange.admit_with_body(body),
        other => other,
    };
    Ok(match admission {
        Err(rejection) => refused(exchange, &rejection),
        Ok(Admission::Answer(answer)) => Outcome::Answered(answer),
        Ok(Admission::Forward | Admission::NeedsBody { .. }) => match forward(exchange, body) {
            Ok(outcome) => outcome,
            Err(rejection) => refused(exchange, &rejection),
        },
    })
}

fn forward(exchange: &mut Exchange, body: &[u8]) -> Result<Outcome, Rejection> {
    match exchange.body_plan() {
        BodyPlan::Stream => exchange.stream_push(body.len())?,
        BodyPlan::Cork => {
            exchange.gate_push(body)?;
            exchange.gate_finish()?;
        }
    }
    let target = exchange.select_endpoint()?;
    let head = exchange.prepare_upstream(&target)?;
    Ok(Outcome::Forwarded(Box::new((target, head))))
}

fn refused(exchange: &mut Exchange, rejection: &Rejection) -> Outcome {
    Outcome::Refused {
        rejection: rejection.clone(),
        answer: exchange.reject(rejection),
    }
}

fn find_listener<'a>(rehearsal: &'a Rehearsal, asked: &Asked) -> Result<&'a ListenerPlan, ExplainFault> {
    let listeners = &rehearsal.snapshot.plan.listeners;
    let serving = || {
        listeners
            .iter()
            .filter(|listener| listener.role == ListenerRole::Serve)
    };
    let known = || {
        serving()
            .map(|listener| listener.id.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(name) = &asked.listener {
        return serving()
            .find(|listener| listener.id.as_str() == name)
            .ok_or_else(|| ExplainFault::Listener(name.clone(), known()));
    }
    let wants_tls = asked.url.scheme == UrlScheme::Https;
    serving()
        .find(|listener| listener.tls == wants_tls)
        .ok_or_else(|| ExplainFault::Scheme(asked.url.scheme.as_str(), known()))
}

/// What the listener asks of a client of this name in the handshake, which is not rehearsed.
fn client_certificates(rehearsal: &Rehearsal, listener: &ListenerId, host: &str) -> ClientCertificates {
    let tls = rehearsal
        .snapshot
        .plan
        .identity
        .listeners
        .iter()
        .find(|one| one.listener == *listener);
    tls.map_or(ClientCertificates::Off, |tls| {
        tls.hosts.get(host).unwrap_or(&tls.client).mode
    })
}

/// True when a new connection with this certificate gets no further than its handshake.
fn ends_in_handshake(exchange: &Exchange, asked: &Asked, chain: &[CertificateDer<'_>]) -> bool {
    if chain.is_empty() {
        return false;
    }
    let snapshot = exchange.snapshot();
    let mut listeners = snapshot.plan.identity.listeners.iter();
    let Some(tls) = listeners.find(|one| one.listener == exchange.record().listener) else {
        return false;
    };
    let trusted = &tls.hosts.get(&asked.url.host()).unwrap_or(&tls.client).trust;
    let mut examined = snapshot
        .identity
        .examine_certificate(chain, SystemTime::now())
        .into_iter()
        .filter(|one| trusted.contains(&one.trust));
    examined.all(|one| one.is_judged() && !one.passes_handshake)
}

fn connection(listener: ListenerId, asked: &Asked, asks: ClientCertificates) -> ConnectionFacts {
    // A certificate that nobody asks for never leaves the client.
    let is_shown = !asked.chain.is_empty() && asks != ClientCertificates::Off;
    let peer = is_shown.then(|| Arc::new(PeerIdentity::from_chain(&asked.chain)));
    let is_name = asked.url.host().parse::<std::net::IpAddr>().is_err();
    let tls = (asked.url.scheme == UrlScheme::Https).then(|| TlsFacts {
        // Clients send no SNI for an address (RFC 6066, section 3).
        sni: is_name.then(|| asked.url.host()),
        version: "TLSv1.3",
        peer,
    });
    let local = SocketAddr::from(([127, 0, 0, 1], if tls.is_some() { 443 } else { 80 }));
    ConnectionFacts {
        listener,
        peer: asked.client,
        local,
        tls,
    }
}

fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

/// A rehearsal leaves no record.
struct NoRecord;

impl RecordSink for NoRecord {
    fn record(&self, _record: &DecisionRecord) {}
}
