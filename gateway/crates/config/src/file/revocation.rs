//! Revocation: where lists are, and what a status means that cannot be told.

use portcullis_identity::plan::{CrlDepth, OnStaleCrl};
use portcullis_model::{Origin, Problem, Problems};
use serde_json::{Value, json};

use super::scalars::{FilePath, HttpUrl};
use super::section::{Definitions, Flaw, Read, Scalar, words};
use super::tree::Node;

/// A revocation list: a file, or a URL to fetch it from.
#[derive(Clone, Debug)]
pub(crate) enum CrlText {
    File(FilePath),
    Url(HttpUrl),
}

impl Scalar for CrlText {
    const EXPECTED: &'static str = "the path or the URL of a revocation list";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        match text.split_once("://") {
            Some(("http" | "https", _)) => HttpUrl::parse(text, plain).map(Self::Url),
            Some((scheme, _)) => {
                let flaw = Flaw::new("bad-value", format!("lists are not fetched over {scheme:?}"));
                Err(flaw.with_hint("name a file, or a URL with http or https"))
            }
            None => FilePath::parse(text, plain).map(Self::File),
        }
    }

    fn schema() -> Value {
        <String as Scalar>::schema()
    }
}

words! { CrlDepth { "chain" => Self::Chain, "leaf" => Self::Leaf } }

words! { OnStaleCrl { "deny" => Self::Deny, "warn" => Self::Warn, "allow" => Self::Allow } }

/// A key about revocation where it would hold for one door only.
#[derive(Debug)]
pub(crate) struct MisplacedRevocation;

impl Read for MisplacedRevocation {
    fn read(_: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let message = "revocation lists hang on a trust, so that listeners, routes and pools read them alike";
        let hint = "write `crl` and `on_stale_crl` in the entry under `trust` that this names";
        problems.push(Problem::error("misplaced-key", origin, message).with_hint(hint));
        None
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "not": {} })
    }
}
