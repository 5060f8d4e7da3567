//! The HTTP/1 connection loop: first byte, head under its deadline, framing guard, one request, and again.
//!
//! An idle connection keeps no buffer and at most one timer. What is refused before it is a request is answered and
//! recorded here; everything else is the exchange's.

mod exchange;
mod head;
mod outbox;
mod reader;
mod writer;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use portcullis_framing::{Bounds, Fault, RequestHead, RequestScanner};
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::{Ending, Gateway};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::Client;
use crate::connection::Connection;
use crate::deadline::Timer;
use crate::listener::socket::ClientSocket;
use crate::respond;

pub(crate) use exchange::H1Client;

/// How long a silent connection is still listened to once the gateway is going: a request that was already on its
/// way when the client could not know is served, and told to close.
const LAME_DUCK: Duration = Duration::from_secs(1);
/// For the answer to a refused head.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Read at once while a head arrives: most heads fit.
const HEAD_READ: usize = 4 * 1024;

/// What the loop needs of the house.
pub(crate) trait Exchanges: Sync {
    /// The hall, for what is refused before it is a request.
    fn gateway(&self) -> &Arc<Gateway>;

    /// Serves one request; it never fails, and afterwards the client says whether its connection goes on.
    fn exchange(&self, client: &mut Client, connection: &Arc<Connection>) -> impl Future<Output = ()> + Send;
}

/// Serves a connection to its end.
pub(crate) async fn serve(exchanges: &impl Exchanges, mut socket: ClientSocket, connection: Arc<Connection>) {
    let mut ahead = BytesMut::new();
    let mut waits = Waits::new(&connection);
    loop {
        if ahead.is_empty() && !waits.first_byte(&mut socket, &mut ahead, &connection).await {
            return Box::pin(socket.close(&[])).await;
        }
        let head = match waits.read_head(&mut socket, &mut ahead, &connection).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(fault) => return Box::pin(refuse(exchanges, socket, &connection, fault)).await,
        };
        connection.count_request();
        let client = match H1Client::new(socket, ahead, head, &connection) {
            Ok(client) => client,
            Err((socket, fault)) => return Box::pin(refuse(exchanges, socket, &connection, fault)).await,
        };
        let mut client = Client::H1(Box::new(client));
        exchanges.exchange(&mut client, &connection).await;
        let Client::H1(client) = client else { return };
        match (*client).into_next() {
            Ok(next) => (socket, ahead) = next,
            Err(closing) => return Box::pin(closing.close()).await,
        }
    }
}

/// What a connection waits for beside its bytes; made once, because a timer and a listener for each request would
/// cost more than the request's head.
struct Waits<'a> {
    timer: Timer,
    /// Until it has come.
    drain: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<'a> Waits<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self {
            timer: Timer::default(),
            drain: Some(Box::pin(connection.drained())),
        }
    }

    /// Waits for a request to start; false when none will.
    async fn first_byte(
        &mut self,
        socket: &mut ClientSocket,
        ahead: &mut BytesMut,
        connection: &Connection,
    ) -> bool {
        let now = Instant::now();
        let idle = now + connection.limits.idle_timeout;
        let mut due = idle.min(connection.end_of_age().max(now + LAME_DUCK));
        let mut is_draining = false;
        poll_fn(|context| {
            if let Poll::Ready(read) = poll_first(socket, ahead, context) {
                return Poll::Ready(matches!(read, Ok(1..)));
            }
            if !is_draining && self.poll_drained(context) {
                is_draining = true;
                due = due.min(Instant::now() + LAME_DUCK);
            }
            self.timer.poll_due(due, Instant::now(), context).map(|()| false)
        })
        .await
    }

    /// True once the gateway is going.
    fn poll_drained(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(drain) = &mut self.drain
            && drain.as_mut().poll(context).is_ready()
        {
            self.drain = None;
        }
        self.drain.is_none()
    }

    /// Reads to the end of the head; `None` when the client left before it.
    async fn read_head(
        &mut self,
        socket: &mut ClientSocket,
        ahead: &mut BytesMut,
        connection: &Connection,
    ) -> Result<Option<RequestHead>, Fault> {
        let bounds = Bounds {
            max_bytes: connection.limits.max_header_bytes,
            max_fields: connection.limits.max_headers,
        };
        let mut scanner = RequestScanner::default();
        let mut due = None;
        loop {
            if let Some(head) = scanner.scan(ahead, &bounds)? {
                return Ok(Some(head));
            }
            let due = *due.get_or_insert_with(|| Instant::now() + connection.limits.header_timeout);
            ahead.reserve(HEAD_READ);
            let read = poll_fn(|context| {
                if let Poll::Ready(read) = reader::poll_read(socket, ahead, context) {
                    return Poll::Ready(Some(read));
                }
                self.timer.poll_due(due, Instant::now(), context).map(|()| None)
            });
            match read.await {
                Some(Ok(1..)) => {}
                Some(Ok(_) | Err(_)) => return Ok(None),
                None => {
                    return Err(Fault {
                        reason: Reason::HeadTimeout,
                        why: "head deadline",
                    });
                }
            }
        }
    }
}

/// Reads into a buffer that exists only when there is something to read.
fn poll_first(
    socket: &mut ClientSocket,
    ahead: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = BytesMut::with_capacity(HEAD_READ);
    let count = ready!(reader::poll_read(socket, &mut buffer, context))?;
    *ahead = buffer;
    Poll::Ready(Ok(count))
}

/// Answers what is not a request, records it, and closes.
async fn refuse(exchanges: &impl Exchanges, mut socket: ClientSocket, connection: &Connection, fault: Fault) {
    let mut exchange = exchanges.gateway().begin(Arc::clone(&connection.facts));
    let answer = exchange.reject(&Rejection::from(fault));
    let bytes = respond::closing_answer(&answer);
    let written = timeout(ANSWER_TIME, async {
        socket.write_all(&bytes).await?;
        socket.flush().await
    });
    let ending = match written.await {
        Ok(Ok(())) => Ending::Complete,
        Ok(Err(_)) | Err(_) => Ending::ClientClosed,
    };
    exchange.finish(Some(answer.status), (0, answer.body.len() as u64), ending);
    socket.close(&[]).await;
}
