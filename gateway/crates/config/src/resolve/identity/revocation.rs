//! What a trust or a pool says about revocation, with the files of its lists read.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_identity::plan::{
    CrlDepth, CrlPlan, CrlSource, OnStaleCrl, RevocationPlan, TrustAnchors, TrustPlan,
};
use portcullis_model::TrustDomain;
use url::Host;

use crate::file::revocation::CrlText;
use crate::file::section::{At, Key, OneOrMany, one_or_many};
use crate::resolve::Resolver;
use crate::sources::{Files, MAX_CRL};

/// The keys of a section that may speak of revocation.
pub(super) struct RevocationKeys<'a> {
    pub(super) crl: &'a Key<OneOrMany<CrlText>>,
    pub(super) distribution_points: &'a Key<bool>,
    pub(super) crl_depth: &'a Key<CrlDepth>,
    pub(super) on_stale_crl: &'a Key<OnStaleCrl>,
}

impl RevocationKeys<'_> {
    /// True when none of them is written.
    pub(super) fn are_absent(&self) -> bool {
        self.crl.is_absent()
            && self.distribution_points.is_absent()
            && self.crl_depth.is_absent()
            && self.on_stale_crl.is_absent()
    }

    /// What they say; `None` when revocation is not asked about, or a list cannot be read, which is a problem then.
    pub(super) fn plan(&self, resolver: &mut Resolver<'_, '_>) -> Option<RevocationPlan> {
        let distribution_points = self.distribution_points.or(false);
        if self.crl.is_absent() && !distribution_points {
            self.refuse_words_without_lists(resolver);
            return None;
        }
        if let Some(At { value: many, origin }) = self.crl.at()
            && many.0.items.is_empty()
            && !many.0.broken
        {
            let hint = "name a file or a URL, or take the key out";
            resolver.error_with_hint("bad-value", origin, "no revocation list is named", hint);
        }
        Some(RevocationPlan {
            lists: one_or_many(self.crl)
                .filter_map(|list| list_plan(list, resolver))
                .collect(),
            distribution_points,
            depth: self.crl_depth.or(CrlDepth::default()),
            on_stale: self.on_stale_crl.or(OnStaleCrl::default()),
        })
    }

    /// Words that would mean nothing.
    fn refuse_words_without_lists(&self, resolver: &mut Resolver<'_, '_>) {
        let written = [
            self.crl_depth.at().map(|at| ("crl_depth", &at.origin)),
            self.on_stale_crl.at().map(|at| ("on_stale_crl", &at.origin)),
        ];
        for (name, origin) in written.into_iter().flatten() {
            let message = format!("`{name}` without a list means nothing: revocation is not asked about");
            let hint = "name lists under `crl`, or set `distribution_points: true`";
            resolver.error_with_hint("missing-key", origin, message, hint);
        }
    }
}

fn list_plan(list: &At<CrlText>, resolver: &mut Resolver<'_, '_>) -> Option<CrlPlan> {
    let source = match &list.value {
        CrlText::File(path) => {
            let name = Files::name_beside(&list.origin, &path.0);
            let kind = ("revocation list", MAX_CRL);
            let bytes = resolver
                .files
                .bytes(&name, kind, &list.origin, resolver.problems)?;
            CrlSource::Document {
                name: Arc::from(path.0.as_str()),
                bytes: Bytes::from(bytes),
            }
        }
        CrlText::Url(url) => {
            let is_refused = match url.url.host() {
                Some(Host::Ipv4(address)) => address.is_link_local(),
                Some(Host::Ipv6(address)) => address.is_unicast_link_local(),
                Some(Host::Domain(name)) => name == "metadata.google.internal",
                None => true,
            };
            if is_refused {
                let message = format!("{} is a link-local or metadata address", url.url);
                resolver.error("insecure-url", &list.origin, message);
                return None;
            }
            CrlSource::Url(Arc::from(url.written.as_str()))
        }
    };
    Some(CrlPlan {
        origin: list.origin.clone(),
        source,
    })
}

/// What the `trust` entries of a trust domain say together: every list, and the stricter word.
pub(super) fn revocation_of(trust: &[TrustPlan], domain: &TrustDomain) -> Option<RevocationPlan> {
    let of_domain = trust
        .iter()
        .filter(|plan| matches!(&plan.anchors, TrustAnchors::TrustDomain(named, _) if named == domain));
    let mut plans = of_domain.filter_map(|plan| plan.revocation.as_ref());
    let first = plans.next()?.clone();
    Some(plans.fold(first, RevocationPlan::and))
}
