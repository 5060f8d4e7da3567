//! Before a number counts: every proxy does the work, and refuses what it claims to refuse.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use tokio_rustls::rustls::{ClientConfig, NamedGroup, ProtocolVersion};

use crate::Result;
use crate::client::h1::Answer;
use crate::client::{connect_tls, drawn, h1, h2c, open, tls};
use crate::keys::{Algorithm, Flaw, Keys};
use crate::origin::{self, Counts, DOWNLOAD_PATH, expected_proof};
use crate::proxies::Proxy;
use crate::scenario::{Guard, Load, Protocol, Scenario, Session};

/// Requests against a limit of five.
const BEYOND_THE_LIMIT: usize = 20;
/// A body that the sample API's contract accepts.
const APPOINTMENT: &str = r#"{"program":"7f8f4f0e-9a39-4a0b-8f3c-2d1f6f0a9b10","client":{"name":"Ada","email":"ada@example.com"},"starts_at":"2026-12-01T10:00:00Z","minutes":30}"#;

/// Who is examined, in which scenario.
pub(crate) struct Exam<'a> {
    pub proxy: Proxy,
    pub scenario: &'static Scenario,
    pub keys: &'a Keys,
    pub address: SocketAddr,
    pub tight: SocketAddr,
    pub counts: &'a Counts,
}

impl Exam<'_> {
    /// Everything that this scenario's numbers stand on.
    pub(crate) async fn pass(&self) -> Result<()> {
        let protocols: &[Protocol] = match (self.scenario.setup.is_tls, self.scenario.load) {
            (false, _) => &[Protocol::H1],
            (true, Load::Same(protocol) | Load::Drawn(protocol)) => &[protocol],
            (true, _) => &[Protocol::H1],
        };
        if self.scenario.setup.is_tls {
            self.handshakes().await?;
        }
        for protocol in protocols {
            self.answers(*protocol).await?;
            match self.scenario.setup.guard {
                Guard::None => {}
                Guard::Token(algorithm) => self.tokens(*protocol, algorithm).await?,
                Guard::Chain => self.chain(*protocol).await?,
            }
        }
        Ok(())
    }

    /// TLS 1.3, the protocol that was asked for, the key exchange that was offered.
    async fn handshakes(&self) -> Result<()> {
        let is_hybrid = self.scenario.load == Load::Handshake(Session::PostQuantum);
        let (session, group) = if is_hybrid {
            (Session::PostQuantum, NamedGroup::X25519MLKEM768)
        } else {
            (Session::Full, NamedGroup::X25519)
        };
        for (protocol, name) in [(Protocol::H1, &b"http/1.1"[..]), (Protocol::H2, &b"h2"[..])] {
            let stream = connect_tls(self.address, &tls(&self.keys.authority, session, protocol)?).await?;
            let facts = stream.get_ref().1;
            demand(facts.protocol_version() == Some(ProtocolVersion::TLSv1_3), || {
                "does not speak TLS 1.3".to_owned()
            })?;
            demand(facts.alpn_protocol() == Some(name), || {
                format!("chose {:?} for {protocol:?}", facts.alpn_protocol())
            })?;
            let chosen = facts.negotiated_key_exchange_group().map(|chosen| chosen.name());
            demand(chosen == Some(group), || {
                format!("exchanged keys by {chosen:?}, not {group:?}")
            })?;
        }
        Ok(())
    }

    /// The right bodies come back, and posted ones arrive whole.
    async fn answers(&self, protocol: Protocol) -> Result<()> {
        let mut client = self.client(protocol, self.address).await?;
        let bearer = self.bearer(Flaw::None)?;
        let common = client.ask("GET", &self.path(), &fields(&bearer), b"").await?;
        demand(common.status == 200 && common.body == origin::answer(), || {
            format!(
                "answered {} with {} bytes, not the origin's answer",
                common.status,
                common.body.len()
            )
        })?;
        let posts: Vec<Vec<u8>> = match self.scenario.setup.guard {
            // The contract says what may be posted.
            Guard::Chain => vec![APPOINTMENT.as_bytes().to_vec()],
            _ => [1, 1 << 10, 1 << 16, 300_001]
                .map(|size| origin::download()[..size].to_vec())
                .into(),
        };
        let path = self.post_path();
        for body in posts {
            let mut fields = fields(&bearer);
            fields.push(("x-bench-proof", "1"));
            fields.push(("content-type", "application/json"));
            let answer = client.ask("POST", path, &fields, &body).await?;
            demand(
                answer.status == 200 && answer.body == expected_proof(&body).as_bytes(),
                || {
                    format!(
                        "a body of {} bytes did not arrive whole: {} {}",
                        body.len(),
                        answer.status,
                        String::from_utf8_lossy(&answer.body)
                    )
                },
            )?;
        }
        if self.scenario.setup.guard != Guard::Chain {
            let large = client
                .ask("GET", &format!("{DOWNLOAD_PATH}/1m"), &fields(&bearer), b"")
                .await?;
            demand(large.status == 200 && large.body == origin::download(), || {
                format!(
                    "a download came back as {} with {} bytes",
                    large.status,
                    large.body.len()
                )
            })?;
        }
        Ok(())
    }

    /// Bad tokens are refused before and after a good one was seen, and never reach the origin.
    async fn tokens(&self, protocol: Protocol, algorithm: Algorithm) -> Result<()> {
        let other = match algorithm {
            Algorithm::Rs256 => Algorithm::Es256,
            Algorithm::Es256 => Algorithm::Rs256,
        };
        let mut credentials = vec![("no token".to_owned(), None)];
        for flaw in [
            Flaw::BadSignature,
            Flaw::Expired,
            Flaw::Unsigned,
            Flaw::OtherIssuer,
            Flaw::OtherAudience,
        ] {
            credentials.push((format!("{flaw:?}"), Some(self.keys.token(algorithm, 1, flaw)?)));
        }
        // A good token with another one's end: what was remembered must be the whole token.
        let good = self.keys.token(algorithm, 0, Flaw::None)?;
        let mut spoilt = good.clone();
        let last = spoilt.len() - 8;
        spoilt.replace_range(
            last..,
            if spoilt.ends_with("AAAAAAAA") {
                "BBBBBBBB"
            } else {
                "AAAAAAAA"
            },
        );
        credentials.push(("a spoilt signature".to_owned(), Some(spoilt)));
        // Envoy takes any algorithm that the key set has a key for; its key set has both.
        if self.proxy != Proxy::Envoy {
            credentials.push((
                "another algorithm".to_owned(),
                Some(self.keys.token(other, 1, Flaw::None)?),
            ));
        }
        for (what, token) in credentials {
            let bearer = token.map(|token| format!("Bearer {token}"));
            self.refused(
                protocol,
                &what,
                &[401, 403],
                "GET",
                &self.path(),
                &fields(&bearer),
                b"",
            )
            .await?;
        }
        Ok(())
    }

    /// Tokens, role and limit; with us also what the contract and the policy refuse.
    async fn chain(&self, protocol: Protocol) -> Result<()> {
        self.tokens(protocol, Algorithm::Es256).await?;
        let visitor = self.bearer(Flaw::WrongRole)?;
        self.refused(
            protocol,
            "the wrong role",
            &[403],
            "GET",
            &self.path(),
            &fields(&visitor),
            b"",
        )
        .await?;
        let bearer = self.bearer(Flaw::None)?;
        let mut client = self.client(protocol, self.tight).await?;
        let mut seen = Vec::new();
        for _ in 0..BEYOND_THE_LIMIT {
            seen.push(
                client
                    .ask("GET", &self.path(), &fields(&bearer), b"")
                    .await?
                    .status,
            );
        }
        let count = |status: u16| seen.iter().filter(|seen| **seen == status).count();
        demand(
            count(200) >= 1 && count(429) >= 10 && count(200) + count(429) == seen.len(),
            || format!("a limit of five answered {seen:?}"),
        )?;
        if !self.proxy.is_ours() {
            return Ok(());
        }
        let mut json = fields(&bearer);
        json.push(("content-type", "application/json"));
        let wrong = APPOINTMENT.replace("30}", "31}");
        self.refused(
            protocol,
            "a body against the contract",
            &[400, 422],
            "POST",
            self.post_path(),
            &json,
            wrong.as_bytes(),
        )
        .await?;
        let query = "/api/v1/appointments?limit=0";
        self.refused(
            protocol,
            "a query against the contract",
            &[400, 422],
            "GET",
            query,
            &json,
            b"",
        )
        .await?;
        let mut other = fields(&bearer);
        other.retain(|(name, _)| *name != "x-tenant");
        other.push(("x-tenant", "globex"));
        self.refused(
            protocol,
            "another tenant",
            &[403],
            "GET",
            &self.path(),
            &other,
            b"",
        )
        .await
    }

    #[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
    async fn refused(
        &self,
        protocol: Protocol,
        what: &str,
        statuses: &[u16],
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<()> {
        let before = self.counts.read().0;
        let answer = self
            .client(protocol, self.address)
            .await?
            .ask(method, path, fields, body)
            .await?;
        demand(statuses.contains(&answer.status), || {
            format!("answered {} to {what}", answer.status)
        })?;
        demand(self.counts.read().0 == before, || {
            format!("sent {what} on to the origin")
        })
    }

    async fn client(&self, protocol: Protocol, address: SocketAddr) -> Result<Client> {
        let config: Option<Arc<ClientConfig>> = match (self.scenario.setup.is_tls, self.scenario.load) {
            (false, _) => None,
            (true, Load::Handshake(session)) => Some(tls(&self.keys.authority, session, protocol)?),
            (true, _) => Some(tls(&self.keys.authority, Session::Full, protocol)?),
        };
        let wire = open(address, config.as_ref()).await?;
        Ok(match protocol {
            Protocol::H1 => Client::H1(h1::Connection::new(wire)),
            Protocol::H2 => Client::H2(h2c::Connection::new(wire).await?, format!("https://{address}")),
        })
    }

    fn bearer(&self, flaw: Flaw) -> Result<Option<String>> {
        match self.scenario.setup.guard.algorithm() {
            Some(algorithm) => Ok(Some(format!("Bearer {}", self.keys.token(algorithm, 0, flaw)?))),
            None => Ok(None),
        }
    }

    fn path(&self) -> String {
        match self.scenario.setup.guard {
            Guard::Chain => drawn::path(0),
            _ => "/items".to_owned(),
        }
    }

    fn post_path(&self) -> &'static str {
        match self.scenario.setup.guard {
            Guard::Chain => "/api/v1/appointments",
            _ => "/items",
        }
    }
}

enum Client {
    H1(h1::Connection),
    H2(h2c::Connection, String),
}

impl Client {
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        match self {
            Self::H1(connection) => connection.ask(&h1::request(method, path, fields, body)).await,
            Self::H2(connection, base) => {
                let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
                connection
                    .ask(method, &format!("{base}{path}"), fields, body)
                    .await
            }
        }
    }
}

fn fields(bearer: &Option<String>) -> Vec<(&str, &str)> {
    let mut fields = vec![("x-tenant", "acme")];
    fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    fields
}

fn demand(is_met: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if is_met { Ok(()) } else { Err(otherwise()) }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
