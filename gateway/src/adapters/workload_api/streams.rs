//! The two streams of a Workload API, each opened again for ever: our X.509-SVIDs with every bundle, and the JWT
//! authorities.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use spiffe::bundle::jwt::JwtBundleSet;
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context};
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// Between attempts: the agent is a local socket, and one that is back is noticed within seconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// The first message comes at once (Workload API 4.3); an agent that takes longer is asked anew.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// What a stream brings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Material {
    /// Our identity, and the bundles of every trust domain.
    Identity,
    /// The JWT authorities of every trust domain.
    JwtAuthorities,
}

/// What happened on a stream.
pub(super) enum Event {
    /// Our identity and every bundle; nothing of the previous delivery holds on.
    Identity(Box<X509Context>),
    /// The JWT authorities of every trust domain.
    JwtAuthorities(JwtBundleSet),
    /// A message that cannot be read: it is discarded, and the stream goes on (Workload API 4.5).
    Unreadable(Material, WorkloadApiError),
    /// The stream ended, or never began.
    Ended {
        /// Which.
        material: Material,
        /// Why.
        fault: WorkloadApiError,
        /// True when it had brought something before.
        had_delivered: bool,
    },
}

type Messages<T> = BoxStream<'static, Result<T, WorkloadApiError>>;
type Opening<T> = BoxFuture<'static, Result<Messages<T>, WorkloadApiError>>;

/// Follows both until nobody listens.
pub(super) async fn follow(endpoint: &str, to: Sender<Event>) {
    let identity = Stream {
        endpoint,
        material: Material::Identity,
        open: |client: WorkloadApiClient| {
            async move { Ok(client.stream_x509_contexts().await?.boxed()) }.boxed()
        },
        event: |context| Event::Identity(Box::new(context)),
    };
    let authorities = Stream {
        endpoint,
        material: Material::JwtAuthorities,
        open: |client: WorkloadApiClient| {
            async move { Ok(client.stream_jwt_bundles().await?.boxed()) }.boxed()
        },
        event: Event::JwtAuthorities,
    };
    tokio::join!(identity.follow(&to), authorities.follow(&to));
}

/// True when the agent says that we are entitled to nothing, as against being unable to say anything.
pub(super) const fn is_denial(fault: &WorkloadApiError) -> bool {
    matches!(
        fault,
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)
    )
}

struct Stream<'a, T> {
    endpoint: &'a str,
    material: Material,
    open: fn(WorkloadApiClient) -> Opening<T>,
    event: fn(T) -> Event,
}

impl<T> Stream<'_, T> {
    async fn follow(&self, to: &Sender<Event>) {
        let mut pause = PAUSE.0;
        loop {
            let (fault, had_delivered) = self.pass_on(to).await;
            if had_delivered {
                pause = PAUSE.0;
            }
            let ended = Event::Ended {
                material: self.material,
                fault,
                had_delivered,
            };
            if to.send(ended).await.is_err() {
                return;
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE.1);
        }
    }

    /// Passes on what comes; why it ended, and whether anything came.
    async fn pass_on(&self, to: &Sender<Event>) -> (WorkloadApiError, bool) {
        let mut messages = match timeout(FIRST_MESSAGE, self.opened()).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(fault)) => return (fault, false),
            Err(_) => return (WorkloadApiError::EmptyResponse, false),
        };
        let mut had_delivered = false;
        let mut next = timeout(FIRST_MESSAGE, messages.next()).await.unwrap_or_default();
        loop {
            let event = match next {
                Some(Ok(message)) => {
                    had_delivered = true;
                    (self.event)(message)
                }
                Some(Err(fault)) if is_of_the_message(&fault) => Event::Unreadable(self.material, fault),
                Some(Err(fault)) => return (fault, had_delivered),
                None => return (WorkloadApiError::EmptyResponse, had_delivered),
            };
            if to.send(event).await.is_err() {
                return (WorkloadApiError::EmptyResponse, had_delivered);
            }
            next = messages.next().await;
        }
    }

    async fn opened(&self) -> Result<Messages<T>, WorkloadApiError> {
        let client = WorkloadApiClient::connect_to(self.endpoint).await?;
        (self.open)(client).await
    }
}

/// True when the stream goes on behind the fault.
const fn is_of_the_message(fault: &WorkloadApiError) -> bool {
    matches!(
        fault,
        WorkloadApiError::MissingRequiredField { .. }
            | WorkloadApiError::InvalidResponseField { .. }
            | WorkloadApiError::X509Svid(_)
            | WorkloadApiError::X509Bundle(_)
            | WorkloadApiError::JwtBundle(_)
            | WorkloadApiError::SpiffeId(_)
    )
}
