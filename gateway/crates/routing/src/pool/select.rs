//! The pick: the local region first, then the failover order, each by its usable endpoints; residency is a hard
//! filter at every step.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{EndpointId, Reason, RegionId, Rejection};
use prometheus::IntCounter;
use smallvec::SmallVec;

use super::Pool;
use super::in_flight::Load;
use super::roster::{Member, Roster, Site};
use super::why::{Code, Reasons, Why};
use crate::attempt::{Attempt, Outcome, Reach};
use crate::balance::weighted;
use crate::health::{Cell, Part, PoolHealth, Urgency};
use crate::residency::AllowedRegions;

/// When a client may come back after nothing could serve it: about a probe's interval, so that things may have
/// changed, spread so that they do not all come at once.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a selection goes by.
#[derive(Clone, Copy, Debug)]
pub struct SelectQuery<'a> {
    /// Where the request may be processed.
    pub allowed: &'a AllowedRegions,
    /// Attempts already made for this request; their endpoints are not picked again.
    pub tried: &'a [Attempt],
    /// How far to look: [`Reach::Anywhere`] first, afterwards what [`crate::next_attempt`] grants.
    pub reach: &'a Reach,
    /// Evenly distributed over all of `u64`.
    pub roll: u64,
    /// Now.
    pub now: Instant,
    /// Takes every endpoint for up, for an offline `explain`; a name without an address then stands for one endpoint
    /// at `0.0.0.0`.
    pub assume_healthy: bool,
}

/// The endpoint a request gets.
#[derive(Debug)]
pub struct Selection {
    /// Which.
    pub endpoint: EndpointId,
    /// The name it was resolved from.
    pub dns: Option<Arc<str>>,
    /// What was passed over before, and why.
    pub why: Why,
    /// The request's place; keep it until the answer has ended.
    pub permit: Permit,
}

/// A request's place in a pool: dropping it frees the place, and gives back a trial that showed nothing.
#[derive(Debug)]
pub struct Permit {
    load: Arc<Load>,
    evidence: Option<Evidence>,
}

#[derive(Debug)]
struct Evidence {
    pool: Arc<PoolHealth>,
    cell: Arc<Cell>,
    ejections: IntCounter,
    trial: Option<(u64, Instant)>,
    recorded: Option<Outcome>,
}

impl Permit {
    /// Records what the attempt showed about its endpoint.
    ///
    /// An answer is recorded by its head. When it breaks off later, recording that turns the success into a failure;
    /// nothing else is recorded twice.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        let Some(evidence) = &mut self.evidence else {
            return;
        };
        let is_ejected = match (evidence.recorded, outcome) {
            (None, _) => {
                let part = evidence
                    .trial
                    .take()
                    .map_or(Part::Ordinary, |(number, _)| Part::Trial(number));
                evidence.pool.record(&evidence.cell, outcome, part, now)
            }
            (Some(Outcome::Ok), Outcome::Transport(_) | Outcome::Silence) => {
                evidence.pool.record_broken_answer(&evidence.cell, now)
            }
            (Some(_), _) => return,
        };
        evidence.recorded = Some(outcome);
        if is_ejected {
            evidence.ejections.inc();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.leave();
        if let Some(evidence) = &self.evidence
            && let Some((number, began)) = evidence.trial
        {
            evidence.cell.release_trial(number, began);
        }
    }
}

/// A pick before it is a selection.
enum Pick<'a> {
    Member {
        site: &'a Site,
        member: &'a Member,
        trial: Option<u64>,
    },
    /// A name without an address; offline only.
    Name {
        site: &'a Site,
        host: &'a Arc<str>,
        port: u16,
    },
}

impl Pool {
    /// The endpoint for this attempt.
    ///
    /// Within the first region of the preference that has one, a weighted pick of the endpoints that are up, among
    /// which an ejected one whose time has come may get its single trial. When no allowed region has any, an ejected
    /// endpoint may be tried before its time, at most once a second: there is no panic mode.
    ///
    /// # Errors
    /// `pool-full` at the pool's limit; `residency-unavailable` when only regions outside the residency could serve
    /// the request or none is allowed; `no-endpoint` otherwise. The private detail has every candidate's code.
    pub fn select(&self, query: &SelectQuery<'_>) -> Result<Selection, Rejection> {
        if !self.load.enter(self.plan.limits.connections) {
            return Err(self.refuse(Reason::PoolFull, query, "INFLIGHT_LIMIT".to_owned()));
        }
        // From here on dropping the permit frees the place.
        let permit = Permit {
            load: Arc::clone(&self.load),
            evidence: None,
        };
        if query.tried.is_empty() && !query.assume_healthy {
            self.budget.count_request();
        }
        let roster = self.roster();
        let mut reasons = Reasons::default();
        let pick = self
            .pick_by_preference(&roster, query, &mut reasons)
            .or_else(|| self.last_resort(&roster, query));
        let Some(pick) = pick else {
            let reason = self.reason_of_refusal(&roster, query);
            return Err(self.refuse(reason, query, reasons.line()));
        };
        self.conclude(&roster, pick, query, reasons, permit)
    }

    fn conclude(
        &self,
        roster: &Roster,
        pick: Pick<'_>,
        query: &SelectQuery<'_>,
        mut reasons: Reasons,
        mut permit: Permit,
    ) -> Result<Selection, Rejection> {
        let (endpoint, dns) = match pick {
            Pick::Name { site, host, port } => {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
                let (pool, region) = (self.id().clone(), site.region.clone());
                (
                    EndpointId {
                        pool,
                        region,
                        address,
                    },
                    Some(Arc::clone(host)),
                )
            }
            Pick::Member { member, .. } if query.assume_healthy => {
                (member.cell.id().clone(), member.dns.clone())
            }
            Pick::Member { site, member, trial } => {
                if trial.is_some() {
                    reasons.push(&site.region, Some(member.cell.id().address), Code::Trial);
                }
                permit.evidence = Some(Evidence {
                    pool: Arc::clone(&roster.health),
                    cell: Arc::clone(&member.cell),
                    ejections: site.ejections.clone(),
                    trial: trial.map(|number| (number, query.now)),
                    recorded: None,
                });
                site.selections.inc();
                (member.cell.id().clone(), member.dns.clone())
            }
        };
        self.check_residency(&endpoint.region, query)?;
        Ok(Selection {
            endpoint,
            dns,
            why: reasons.into_why(),
            permit,
        })
    }

    fn pick_by_preference<'a>(
        &self,
        roster: &'a Roster,
        query: &SelectQuery<'_>,
        reasons: &mut Reasons,
    ) -> Option<Pick<'a>> {
        for region in self.preference.regions() {
            let Some(site) = roster.site(region) else {
                continue;
            };
            if !query.allowed.contains(region) {
                reasons.push(region, None, Code::Residency);
            } else if !query.reach.admits(region) {
                reasons.push(region, None, Code::Tried);
            } else if let Some(pick) = pick_in(site, query, reasons) {
                return Some(pick);
            }
        }
        None
    }

    /// A trial before its time of an ejected endpoint, because nothing else is left.
    fn last_resort<'a>(&self, roster: &'a Roster, query: &SelectQuery<'_>) -> Option<Pick<'a>> {
        if !query.tried.is_empty() || query.assume_healthy {
            return None;
        }
        let sites = self
            .preference
            .among(query.allowed)
            .filter(|region| query.reach.admits(region));
        let sites = sites.filter_map(|region| roster.site(region));
        sites
            .flat_map(|site| site.members.iter().map(move |member| (site, member)))
            .find_map(|(site, member)| {
                let trial = member.cell.begin_trial(Urgency::LastResort, query.now)?;
                Some(Pick::Member {
                    site,
                    member,
                    trial: Some(trial),
                })
            })
    }

    /// The last look before an endpoint is handed out. It can only fail by a defect in this file, and then the
    /// request is refused and the defect counted.
    fn check_residency(&self, region: &RegionId, query: &SelectQuery<'_>) -> Result<(), Rejection> {
        if query.allowed.contains(region) {
            return Ok(());
        }
        self.metrics().residency_violation();
        Err(self.refuse(Reason::ResidencyUnavailable, query, format!("{region} RESIDENCY")))
    }

    /// Whether the residency is what stands in the way: another region could serve, or none of ours is allowed.
    fn reason_of_refusal(&self, roster: &Roster, query: &SelectQuery<'_>) -> Reason {
        let mut is_any_allowed = false;
        let mut could_another_serve = false;
        for region in self.preference.regions() {
            let Some(site) = roster.site(region) else {
                continue;
            };
            if query.allowed.contains(region) {
                is_any_allowed = true;
            } else {
                could_another_serve |=
                    query.assume_healthy || site.members.iter().any(|member| member.cell.is_usable());
            }
        }
        let is_restricted = matches!(query.allowed, AllowedRegions::Only(_));
        if could_another_serve || (is_restricted && !is_any_allowed) {
            Reason::ResidencyUnavailable
        } else {
            Reason::NoEndpoint
        }
    }

    fn refuse(&self, reason: Reason, query: &SelectQuery<'_>, private: String) -> Rejection {
        if !query.assume_healthy {
            self.metrics().refused(self.id(), reason);
        }
        let spread = Duration::from_millis(query.roll % 2_000);
        Rejection::new(reason)
            .with_private(private)
            .with_retry_after(RETRY_AFTER + spread)
            .decided_by(&self.plan.origin)
    }
}

/// A pick among one site's endpoints.
fn pick_in<'a>(site: &'a Site, query: &SelectQuery<'_>, reasons: &mut Reasons) -> Option<Pick<'a>> {
    let is_ready = |member: &Member| query.assume_healthy || member.cell.is_usable();
    // A second attempt must not land on an endpoint that is being tried out.
    let may_try = query.tried.is_empty();
    let mut candidates: SmallVec<[&Member; 16]> = SmallVec::new();
    for member in &site.members {
        if member.is_among(query.tried) {
            reasons.push(&site.region, Some(member.cell.id().address), Code::Tried);
        } else if is_ready(member) || (may_try && member.cell.may_try(Urgency::Due, query.now)) {
            candidates.push(member);
        } else if let Some(code) = Code::of(member.cell.lock().state(query.now)) {
            reasons.push(&site.region, Some(member.cell.id().address), code);
        }
    }
    for (host, _) in &site.unresolved {
        reasons.push(
            &site.region,
            None,
            Code::NoAddress {
                host: Arc::clone(host),
            },
        );
    }
    while !candidates.is_empty() {
        let weights = candidates.iter().map(|member| u32::from(member.weight));
        let index = weighted::pick(weights, query.roll)?;
        let member = candidates.get(index).copied()?;
        if is_ready(member) {
            return Some(Pick::Member {
                site,
                member,
                trial: None,
            });
        }
        if let Some(trial) = member.cell.begin_trial(Urgency::Due, query.now) {
            return Some(Pick::Member {
                site,
                member,
                trial: Some(trial),
            });
        }
        // Another request took the trial, or the endpoint went down between two looks.
        candidates.remove(index);
    }
    let name = site
        .unresolved
        .first()
        .filter(|_| query.assume_healthy && query.tried.is_empty());
    name.map(|(host, port)| Pick::Name {
        site,
        host,
        port: *port,
    })
}

#[cfg(test)]
mod tests;
