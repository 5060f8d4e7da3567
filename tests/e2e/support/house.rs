//! A gateway as most topics want it: a plain and a TLS listener, one token issuer, one contract to refer to.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Answer, Dial};
use super::gateway::{TestGateway, configure, folder};
use super::pki::{Authority, TokenIssuer, write};

/// The name that the TLS listener answers to.
pub const HOST: &str = "api.example.com";

/// Listeners `plain` and `public`, for a configuration that wants no others.
pub const LISTENERS: &str = r#"
listeners:
  plain: { listen: "127.0.0.1:0" }
  public: { listen: "127.0.0.1:0", tls: { certificates: [{ chain: server.pem, key: server.key }] } }
"#;

/// The contract `orders`, under `/api`.
pub const CONTRACT: &str = "contracts: { orders: { openapi: orders.yaml } }\n";

const COMMON: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } }
issuers:
  idp:
    issuer: "https://login.example.com"
    jwks: { file: jwks.json }
    audiences: [api]
    claims: { tenant: tenant, roles: roles }
"#;

const ORDERS: &str = r#"
openapi: 3.1.0
info: { title: Orders, version: "1" }
paths:
  /api/orders:
    get:
      operationId: listOrders
      parameters:
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }
        - { name: x-shop, in: header, schema: { type: string, pattern: "^[a-z]+$" } }
      responses: { "200": { description: A page. } }
    post:
      operationId: createOrder
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: '#/components/schemas/Order' } } }
      responses: { "200": { description: Created. } }
  /api/orders/{id}:
    get:
      operationId: readOrder
      parameters:
        - { name: id, in: path, required: true, schema: { type: integer } }
      responses: { "200": { description: The order. } }
components:
  schemas:
    Order:
      type: object
      required: [item, count]
      additionalProperties: false
      properties:
        item: { type: string, minLength: 1, maxLength: 40 }
        count: { type: integer, minimum: 1, maximum: 10 }
        note: { type: [string, array] }
"#;

/// A running gateway with what its clients need.
pub struct House {
    pub gateway: TestGateway,
    pub edge: Authority,
    pub issuer: TokenIssuer,
}

impl House {
    /// Starts with the common parts and `text`.
    pub fn open(text: &str) -> Self {
        Self::open_with(text, |_, _| ())
    }

    /// The same, after more files were written, perhaps certificates of the edge.
    pub fn open_with(text: &str, files: impl FnOnce(&Path, &Authority)) -> Self {
        Self::build(text, files, TestGateway::start)
    }

    /// The same, started in another way.
    pub fn open_by(text: &str, start: impl FnOnce(TempDir) -> TestGateway) -> Self {
        Self::build(text, |_, _| (), start)
    }

    fn build(
        text: &str,
        files: impl FnOnce(&Path, &Authority),
        start: impl FnOnce(TempDir) -> TestGateway,
    ) -> Self {
        let folder = folder();
        let edge = Authority::new("edge");
        edge.leaf(&[HOST], None).write(folder.path(), "server");
        let issuer = TokenIssuer::new("https://login.example.com", "k1");
        write(&folder.path().join("jwks.json"), &issuer.jwks());
        write(&folder.path().join("orders.yaml"), ORDERS);
        files(folder.path(), &edge);
        configure(folder.path(), &format!("{COMMON}{text}"));
        Self {
            gateway: start(folder),
            edge,
            issuer,
        }
    }

    pub fn plain(&self) -> Dial {
        Dial::plain(self.gateway.address("plain"))
    }

    pub fn h1(&self) -> Dial {
        Dial::tls(self.gateway.address("public"), HOST, self.edge.roots(), None)
    }

    pub fn h2(&self) -> Dial {
        Dial::h2(self.gateway.address("public"), HOST, self.edge.roots(), None)
    }

    /// The value of an `authorization` field.
    pub fn bearer(&self, subject: &str, claims: Value) -> String {
        format!("Bearer {}", self.issuer.token(subject, claims))
    }

    /// Checks that a refusal is told in the one form there is, and the same to the log; gives the log's line.
    pub fn assert_refused(&self, answer: &Answer, status: u16, code: &str) -> Value {
        assert_eq!(answer.status.as_u16(), status, "{code}: {answer:?}");
        assert_eq!(
            answer.headers["content-type"], "application/problem+json",
            "{code}"
        );
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("urn:portcullis:problem:{code}"));
        assert_eq!(problem["request_id"], answer.request_id(), "{code}");
        let line = self.gateway.access_line(&answer.request_id());
        assert_eq!(
            (&line["reason"], &line["status"]),
            (&code.into(), &status.into()),
            "{line}"
        );
        line
    }
}

/// A JSON order that fits the contract and is exactly this long.
pub fn order_of(size: usize) -> String {
    let empty = r#"{"item":"a","count":1,"note":""}"#;
    format!(
        r#"{{"item":"a","count":1,"note":"{}"}}"#,
        "n".repeat(size - empty.len())
    )
}
