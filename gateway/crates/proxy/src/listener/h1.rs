//! The HTTP/1.1 connection loop: first byte, head under its deadline, framing guard, one request through Pingora,
//! and again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::Ending;
use tokio::time::{Instant, timeout, timeout_at};

use super::Hall;
use super::frame::{FrameFault, HeadFacts, HeadLimits, HeadScanner};
use super::lent::{GivenBack, LentStream, Return};
use super::socket::ClientSocket;
use crate::link::{self, Connection, RequestLink, lock};
use crate::respond;

/// How long a silent connection is still listened to once the gateway is going: a request that was already on its
/// way when the client could not know is served, and told to close.
const LAME_DUCK: Duration = Duration::from_secs(1);
/// For the answer to a refused head.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(crate) async fn serve(hall: &Hall<'_>, mut socket: ClientSocket, connection: Arc<Connection>) {
    let mut ahead = BytesMut::new();
    loop {
        if ahead.is_empty() && !first_byte(&mut socket, &mut ahead, &connection).await {
            return socket.close(&[]).await;
        }
        let facts = match read_head(&mut socket, &mut ahead, &connection).await {
            Ok(Some(facts)) => facts,
            Ok(None) => return,
            Err(fault) => return refuse(hall, socket, &connection, &fault.into()).await,
        };
        match exchange(hall, (socket, ahead), facts, &connection).await {
            Some((returned, rest)) => (socket, ahead) = (returned, rest),
            None => return,
        }
        if ahead.is_empty() {
            // An idle connection keeps no buffer.
            ahead = BytesMut::new();
        }
    }
}

/// Waits for a request to start; false when none will.
async fn first_byte(socket: &mut ClientSocket, ahead: &mut BytesMut, connection: &Connection) -> bool {
    let idle = Instant::now() + connection.limits.idle_timeout;
    let idle = idle.min(connection.end_of_age().max(Instant::now() + LAME_DUCK));
    tokio::select! {
        biased;
        read = timeout_at(idle, socket.read_some(ahead)) => return matches!(read, Ok(Ok(1..))),
        () = connection.drained() => {}
    }
    matches!(timeout(LAME_DUCK, socket.read_some(ahead)).await, Ok(Ok(1..)))
}

/// Reads to the end of the head; `None` when the client left before it.
async fn read_head(
    socket: &mut ClientSocket,
    ahead: &mut BytesMut,
    connection: &Connection,
) -> Result<Option<HeadFacts>, FrameFault> {
    let limits = HeadLimits {
        max_bytes: connection.limits.max_header_bytes,
        max_fields: connection.limits.max_headers,
    };
    let deadline = Instant::now() + connection.limits.header_timeout;
    let mut scanner = HeadScanner::default();
    loop {
        if let Some(facts) = scanner.scan(ahead, &limits)? {
            return Ok(Some(facts));
        }
        match timeout_at(deadline, socket.read_some(ahead)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(_) | Err(_)) => return Ok(None),
            Err(_) => return Err(FrameFault::new(Reason::HeadTimeout, "head deadline")),
        }
    }
}

/// One request through Pingora; gives the socket back when the connection goes on.
async fn exchange(
    hall: &Hall<'_>,
    (socket, mut ahead): (ClientSocket, BytesMut),
    head: HeadFacts,
    connection: &Arc<Connection>,
) -> Option<(ClientSocket, BytesMut)> {
    connection.count_request();
    ahead.advance(head.start);
    let link = Arc::new(RequestLink::new(Arc::clone(connection)));
    let home = Return::default();
    let framing = (head.end - head.start, head.body);
    let lent = LentStream::new(socket, ahead, framing, Arc::clone(&link), Arc::clone(&home));
    let session = ServerSession::new_http1(Box::new(lent));
    let request = hall.engine.process_new_http(session, hall.shutdown);
    let reusable = link::scoped(Arc::clone(&link), request).await;
    let is_reusable = reusable.is_some() || link.is_answered();
    drop(reusable);
    let back = lock(&home).take()?;
    if !link.is_begun() {
        let rejection = Rejection::new(Reason::FrameMalformed).with_private("refused by the HTTP/1.1 parser");
        refuse(hall, back.socket, connection, &rejection).await;
        return None;
    }
    let GivenBack {
        socket,
        ahead,
        unwritten,
        is_at_boundary,
    } = back;
    if is_reusable && is_at_boundary && unwritten.is_empty() {
        return Some((socket, ahead));
    }
    socket.close(&unwritten).await;
    None
}

/// Answers what is not a request, records it, and closes.
async fn refuse(hall: &Hall<'_>, mut socket: ClientSocket, connection: &Connection, rejection: &Rejection) {
    let mut exchange = hall.doors.gateway.begin(Arc::clone(&connection.facts));
    let answer = exchange.reject(rejection);
    let bytes = respond::closing_answer(&answer);
    let written = timeout(ANSWER_TIME, write(&mut socket, &bytes)).await;
    let ending = match written {
        Ok(Ok(())) => Ending::Complete,
        Ok(Err(_)) | Err(_) => Ending::ClientClosed,
    };
    exchange.finish(Some(answer.status), (0, answer.body.len() as u64), ending);
    socket.close(&[]).await;
}

async fn write(socket: &mut ClientSocket, bytes: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;

    socket.write_all(bytes).await?;
    socket.flush().await
}
