//! Steady load from clients that behave: they keep connections, leave one that is told to close, and never repeat a
//! request that may have been processed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use http::Method;
use tokio::task::JoinSet;

use crate::support::{Answer, Client, Dial};

/// Requests at once on an h2 connection.
const STREAMS: usize = 4;

/// One request, with a number that its judge needs.
pub struct Ask {
    pub method: Method,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub note: usize,
}

impl Ask {
    pub fn get(target: &str) -> Self {
        Self {
            method: Method::GET,
            target: target.to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
            note: 0,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Make = dyn Fn() -> Ask + Send + Sync;
type Judge = dyn Fn(&Ask, &Answer) -> Result<(), String> + Send + Sync;

/// What came of it.
#[derive(Default)]
pub struct Tally {
    answered: AtomicUsize,
    connections: AtomicUsize,
    repeated: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }
}

/// Running load.
pub struct Load {
    pub tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Load {
    /// One worker for every dial.
    pub fn start(
        dials: Vec<Dial>,
        make: impl Fn() -> Ask + Send + Sync + 'static,
        judge: impl Fn(&Ask, &Answer) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let (make, judge): (Arc<Make>, Arc<Judge>) = (Arc::new(make), Arc::new(judge));
        let (tally, is_over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let mut workers = JoinSet::new();
        for dial in dials {
            let worker = Worker {
                dial,
                make: Arc::clone(&make),
                judge: Arc::clone(&judge),
                tally: Arc::clone(&tally),
                is_over: Arc::clone(&is_over),
            };
            workers.spawn(worker.run());
        }
        Self {
            tally,
            is_over,
            workers,
        }
    }

    /// Waits until so many requests were answered since the start.
    pub async fn answered(&self, count: usize) {
        crate::support::wait_until(&format!("{count} answers"), || async {
            let is_enough = self.tally.answered() >= count || !self.tally.failures().is_empty();
            is_enough.then_some(())
        })
        .await;
    }

    /// Waits for so many more answers.
    pub async fn answered_more(&self, count: usize) {
        self.answered(self.tally.answered() + count).await;
    }

    /// From now on a refused connection is the end, not a failure.
    pub fn expect_the_end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Stops, and prints and gives the tally.
    pub async fn finish(mut self, what: &str) -> Arc<Tally> {
        self.expect_the_end();
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended {
                self.tally.fail(format!("a worker panicked: {error}"));
            }
        }
        println!(
            "{what}: {} requests on {} connections, {} failed, {} sent again because they were never processed",
            self.tally.answered(),
            self.tally.connections.load(Ordering::SeqCst),
            self.tally.failures().len(),
            self.tally.repeated.load(Ordering::SeqCst),
        );
        self.tally
    }
}

struct Worker {
    dial: Dial,
    make: Arc<Make>,
    judge: Arc<Judge>,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
}

impl Worker {
    async fn run(self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let client = match self.dial.connect().await {
                Ok(client) => client,
                Err(_) if self.is_over.load(Ordering::SeqCst) => return,
                Err(error) => return self.tally.fail(format!("cannot connect: {error}")),
            };
            self.tally.connections.fetch_add(1, Ordering::SeqCst);
            self.keep_asking(client).await;
        }
    }

    async fn keep_asking(&self, mut client: Client) {
        while !self.is_over.load(Ordering::SeqCst) && !client.is_closed() {
            match client.same_connection() {
                None => self.ask(&mut client).await,
                Some(_) => {
                    let streams = (0..STREAMS).filter_map(|_| client.same_connection());
                    join_all(streams.map(|mut stream| async move { self.ask(&mut stream).await })).await;
                }
            }
        }
    }

    async fn ask(&self, client: &mut Client) {
        let ask = (self.make)();
        let fields: Vec<(&str, &str)> = ask
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match client
            .send(ask.method.clone(), &ask.target, &fields, &ask.body)
            .await
        {
            Ok(answer) => {
                if let Err(why) = (self.judge)(&ask, &answer) {
                    self.tally.fail(why);
                }
                self.tally.answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) if was_never_processed(&error) => {
                self.tally.repeated.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => self
                .tally
                .fail(format!("{} {}: {error:?}", ask.method, ask.target)),
        }
    }
}

/// The connection was told to go before the request was taken; any client sends it again elsewhere.
fn was_never_processed(error: &hyper::Error) -> bool {
    if error.is_canceled() || error.is_closed() {
        return true;
    }
    let h2 = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    h2.is_some_and(|error| match error.reason() {
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        reason => reason == Some(h2::Reason::REFUSED_STREAM),
    })
}

/// A judge that wants 200.
pub fn ok(ask: &Ask, answer: &Answer) -> Result<(), String> {
    match answer.status.as_u16() {
        200 => Ok(()),
        other => Err(format!(
            "{} {}: {other} {:?}",
            ask.method, ask.target, answer.body
        )),
    }
}
