//! The wire: accepts connections on loopback, bounded in number and in time, and ends when asked.

mod haste;

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Connections at once: far more than the clients of one machine need.
const CONNECTIONS: usize = 1024;
/// Between two requests. Longer than clients keep idle connections (60 s), so that a connection is
/// never closed at the moment a client uses it again.
const IDLE: Duration = Duration::from_secs(75);
/// For the rest of a head once its first byte is here: whoever takes longer is holding a place.
const HEAD: Duration = Duration::from_secs(10);
/// How long answers may take once the end was asked for.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a service answers; `Err` hangs up without a word.
pub(crate) type Reply = Result<Response<Body>, HangUp>;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
pub(crate) struct HangUp;

/// Serves until `end` turns true.
pub(crate) async fn serve<S, F>(listener: TcpListener, service: S, mut end: watch::Receiver<bool>)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = end.wait_for(|end| *end) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((socket, place)) = accepted else {
            // Out of descriptors, most likely: give others time to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (service, mut end) = (service.clone(), end.clone());
        connections.spawn(async move {
            let _place = place;
            let _ = socket.set_nodelay(true);
            let (socket, heads) = haste::watched(socket);
            let answer = |request| {
                heads.is_whole();
                let answer = service(request);
                async {
                    let answer = answer.await;
                    heads.may_come();
                    answer
                }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(socket), service_fn(answer));
            let mut connection = pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = heads.dawdle(HEAD) => return,
                _ = end.wait_for(|end| *end) => connection.as_mut().graceful_shutdown(),
            }
            let _ = tokio::time::timeout(FAREWELL, connection).await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    Ok((socket, place))
}
