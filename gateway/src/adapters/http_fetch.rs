//! The gateway's own HTTP client: key sets of issuers and revocation lists, under the egress rules.
//!
//! Every bound is here: time, size, redirects on the same host only, no proxy from the environment, and every
//! address checked after resolution, so that a name that is allowed cannot lead to an address that is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use portcullis_identity::{CrlFetch, FetchFault, KeyFetch, NamedBy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use super::egress::{EgressRules, check_address};
use crate::output::chain;

/// For a connection with its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the whole fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A key set of a hundred keys is 100 KiB.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// A revocation list of two hundred thousand certificates.
const MAX_LIST: usize = 8 * 1024 * 1024;
/// For the whole fetch of one, over a slow line.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// On the same host only.
const MAX_REDIRECTS: usize = 3;

/// The client could not be made.
#[derive(Debug, Error)]
#[error("cannot build the HTTP client")]
pub struct ClientFault(#[source] reqwest::Error);

/// Fetches documents that the rules allow.
pub struct HttpFetch {
    client: Client,
    rules: ArcSwap<EgressRules>,
}

impl HttpFetch {
    /// A client under these rules; the rules follow every reload through [`HttpFetch::replace_rules`].
    ///
    /// # Errors
    /// Fails when the system's trust anchors cannot be used.
    pub fn new(rules: EgressRules) -> Result<Self, ClientFault> {
        let client = Client::builder()
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(Policy::custom(same_host_only))
            .dns_resolver(CheckedResolver)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(ClientFault)?;
        Ok(Self {
            client,
            rules: ArcSwap::from_pointee(rules),
        })
    }

    /// The rules of a new configuration.
    pub fn replace_rules(&self, rules: EgressRules) {
        self.rules.store(Arc::new(rules));
    }

    /// The body of a URL that the rules allow.
    async fn get(&self, url: Url, limit: usize, timeout: Duration) -> Result<Bytes, FetchFault> {
        let request = self.client.get(url).timeout(timeout);
        let mut response = request.send().await.map_err(fault)?;
        if response.status() != StatusCode::OK {
            return Err(FetchFault::Status(response.status().as_u16()));
        }
        let declared = response.content_length().unwrap_or(0);
        if usize::try_from(declared).unwrap_or(usize::MAX) > limit {
            return Err(FetchFault::TooLarge);
        }
        let mut document = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(fault)? {
            if document.len() + part.len() > limit {
                return Err(FetchFault::TooLarge);
            }
            document.extend_from_slice(&part);
        }
        Ok(document.freeze())
    }
}

#[async_trait]
impl KeyFetch for HttpFetch {
    async fn fetch(&self, url: &str) -> Result<Bytes, FetchFault> {
        let url = self
            .rules
            .load()
            .check(url)
            .map_err(|fault| FetchFault::Refused(fault.to_string()))?;
        self.get(url, MAX_DOCUMENT, TIMEOUT).await
    }
}

#[async_trait]
impl CrlFetch for HttpFetch {
    async fn fetch_list(&self, url: &str, named_by: NamedBy) -> Result<Bytes, FetchFault> {
        let url = self
            .rules
            .load()
            .check_list(url, named_by)
            .map_err(|fault| FetchFault::Refused(fault.to_string()))?;
        self.get(url, MAX_LIST, LIST_TIMEOUT).await
    }
}

fn fault(error: reqwest::Error) -> FetchFault {
    if error.is_timeout() {
        FetchFault::Timeout
    } else {
        FetchFault::Transport(chain(&error.without_url()))
    }
}

fn same_host_only(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_same = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if is_same && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        // The 3xx itself becomes the answer, and is refused by its status.
        attempt.stop()
    }
}

/// Resolves by the system and leaves out what may never be called.
struct CheckedResolver;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed = allowed_addresses(&host, addresses)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn allowed_addresses(
    host: &str,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, super::egress::EgressFault> {
    let mut allowed = Vec::with_capacity(addresses.len());
    let mut refused = None;
    for address in addresses {
        let verdict = check_address(address.ip());
        // Plain HTTP goes to `localhost` by name, so that name must stay on this machine.
        let is_astray = host == "localhost" && !address.ip().is_loopback();
        match verdict {
            Ok(()) if !is_astray => allowed.push(address),
            Ok(()) => refused = Some(super::egress::EgressFault::Address(address.ip())),
            Err(fault) => refused = Some(fault),
        }
    }
    match refused {
        Some(fault) if allowed.is_empty() => Err(fault),
        Some(_) | None => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;

    async fn serve(answer: fn(&str) -> Response<Full<Bytes>>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |request: Request<Incoming>| async move {
                    Ok::<_, Infallible>(answer(request.uri().path()))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        format!("http://{address}")
    }

    fn fetch_for(url: &str) -> HttpFetch {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        HttpFetch::new(EgressRules::new([url], Vec::new())).unwrap()
    }

    fn body(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
        Response::new(Full::new(text.into()))
    }

    #[tokio::test]
    async fn a_document_of_a_named_host_arrives() {
        let url = serve(|_| body("keys")).await;

        assert_eq!(fetch_for(&url).fetch(&url).await.unwrap(), "keys");
    }

    #[tokio::test]
    async fn a_document_over_the_bound_is_refused() {
        let url = serve(|_| body(vec![b'x'; MAX_DOCUMENT + 1])).await;

        assert_eq!(fetch_for(&url).fetch(&url).await, Err(FetchFault::TooLarge));
    }

    #[tokio::test]
    async fn a_list_may_be_larger_than_a_key_set_but_not_without_bound() {
        let answers = |path: &str| body(vec![b'x'; if path == "/fits" { MAX_LIST } else { MAX_LIST + 1 }]);
        let url = serve(answers).await;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let fetch = HttpFetch::new(EgressRules::default().with_lists([url.as_str()])).unwrap();
        let list = async |path: &str, named_by| fetch.fetch_list(&format!("{url}{path}"), named_by).await;

        assert_eq!(
            list("/fits", NamedBy::Configuration).await.unwrap().len(),
            MAX_LIST
        );
        assert_eq!(
            list("/over", NamedBy::Configuration).await,
            Err(FetchFault::TooLarge)
        );
        assert!(matches!(
            list("/fits", NamedBy::Certificate).await,
            Err(FetchFault::Refused(_))
        ));
    }

    #[tokio::test]
    async fn a_redirect_is_followed_on_the_same_host_and_never_elsewhere() {
        let redirecting = |path: &str| {
            let to = match path {
                "/here" => "/keys",
                "/there" => "http://localhost:1/keys",
                _ => return body("keys"),
            };
            Response::builder()
                .status(302)
                .header("location", to)
                .body(Full::default())
                .unwrap()
        };
        let url = serve(redirecting).await;
        let fetch = fetch_for(&url);

        assert_eq!(fetch.fetch(&format!("{url}/here")).await.unwrap(), "keys");
        assert_eq!(
            fetch.fetch(&format!("{url}/there")).await,
            Err(FetchFault::Status(302))
        );
    }

    #[tokio::test]
    async fn a_host_that_nobody_named_is_not_called() {
        let url = serve(|_| body("keys")).await;
        let fetch = fetch_for("https://login.example.com");

        assert!(matches!(fetch.fetch(&url).await, Err(FetchFault::Refused(_))));
    }

    #[test]
    fn a_name_that_leads_to_a_metadata_address_leads_nowhere() {
        let metadata = vec!["169.254.169.254:0".parse().unwrap()];

        assert!(allowed_addresses("login.example.com", metadata).is_err());
        assert!(allowed_addresses("localhost", vec!["203.0.113.7:0".parse().unwrap()]).is_err());
        assert_eq!(
            allowed_addresses("localhost", vec!["127.0.0.1:0".parse().unwrap()])
                .unwrap()
                .len(),
            1
        );
    }
}
