//! Keeping what was delivered, beside the deliveries: a disk that hangs holds up nobody but itself.

use std::future::pending;

use portcullis_identity::WorkloadIdentity;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use super::kept::{Kept, KeptFault};
use crate::output::chain;

/// What is to be in the state folder. Only the latest wish counts: what a slower disk did not come to is over by then.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// This delivery.
    Keep(Box<WorkloadIdentity>),
    /// Nothing.
    Forget,
}

/// Where wishes come true; they block.
pub(super) trait Keep: Send + 'static {
    /// Does what is wished for.
    fn grant(&mut self, wish: &Wish) -> Result<(), KeptFault>;
}

/// The file in the state folder, for what one agent delivers.
pub(super) struct Keeper {
    pub(super) kept: Kept,
    /// The agent's.
    pub(super) endpoint: String,
}

impl Keep for Keeper {
    fn grant(&mut self, wish: &Wish) -> Result<(), KeptFault> {
        match wish {
            Wish::Keep(identity) => self.kept.write(&self.endpoint, identity),
            Wish::Forget => self.kept.forget(),
        }
    }
}

/// Grants one wish after the other, until the task is dropped.
pub(super) async fn keep(mut keeper: impl Keep, mut wishes: watch::Receiver<Option<Wish>>) {
    while wishes.changed().await.is_ok() {
        let Some(wish) = wishes.borrow_and_update().clone() else {
            continue;
        };
        let what = match wish {
            Wish::Keep(_) => "keep",
            Wish::Forget => "forget",
        };
        let granted = spawn_blocking(move || {
            let granted = keeper.grant(&wish);
            (keeper, granted)
        });
        match granted.await {
            Ok((again, granted)) => {
                keeper = again;
                if let Err(fault) = granted {
                    warn!(error = %chain(&fault), "cannot {what} the workload identity in the state folder");
                }
            }
            Err(fault) => {
                error!(error = %fault, "keeping the workload identity failed, it is kept no longer");
                return pending().await;
            }
        }
    }
    pending().await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A disk that takes its time: it tells what it was asked for, and does it when it is let.
    struct Slow {
        asked: tokio::sync::mpsc::UnboundedSender<Wish>,
        let_go: mpsc::Receiver<()>,
    }

    impl Keep for Slow {
        fn grant(&mut self, wish: &Wish) -> Result<(), KeptFault> {
            self.asked.send(wish.clone()).unwrap();
            self.let_go.recv().map_err(|_| KeptFault::Part("test"))
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_nobody_and_writes_only_the_latest() {
        let (asked, mut asked_for) = tokio::sync::mpsc::unbounded_channel();
        let (go, let_go) = mpsc::channel();
        let (wish, wishes) = watch::channel(None);
        let keeping = tokio::spawn(keep(Slow { asked, let_go }, wishes));
        let identity = |domain: &str| WorkloadIdentity {
            bundles: [(spiffe::TrustDomain::new(domain).unwrap(), Vec::new())].into(),
            ..WorkloadIdentity::default()
        };

        wish.send_replace(Some(Wish::Keep(Box::new(identity("first.example")))));
        assert!(matches!(asked_for.recv().await, Some(Wish::Keep(_))));
        for domain in ["second.example", "third.example"] {
            wish.send_replace(Some(Wish::Keep(Box::new(identity(domain)))));
        }
        wish.send_replace(Some(Wish::Forget));
        go.send(()).unwrap();

        assert!(matches!(asked_for.recv().await, Some(Wish::Forget)));
        go.send(()).unwrap();
        drop(go);
        wish.send_replace(Some(Wish::Keep(Box::new(identity("fourth.example")))));
        assert!(
            matches!(asked_for.recv().await, Some(Wish::Keep(_))),
            "a fault ends nothing"
        );
        keeping.abort();
    }
}
