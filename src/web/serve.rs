//! Serving a listener with bounds: connections, time for headers, age of a connection.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

/// Connections at once. More wait in the listener's queue; a page and a scrape need one each.
const CONNECTIONS: usize = 512;
/// Headers come within this, on a new connection and between two requests of one.
const HEADERS: Duration = Duration::from_secs(20);
/// Most bytes of headers.
const HEADER_BYTES: usize = 64 * 1024;
/// A connection is closed in good order after this, so that a reader who stalls frees its place.
const AGE: Duration = Duration::from_secs(300);
/// Time for the request that is being answered when a connection has to end.
const GRACE: Duration = Duration::from_secs(5);
/// After an accept that failed (no file handles left): trying again at once would spin.
const BREATH: Duration = Duration::from_millis(100);

/// Tells an answer that goes on and on that its listener is stopped.
#[derive(Clone)]
pub(super) struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Waits until it is.
    pub(super) async fn stopped(mut self) {
        // Stopped as well if nobody is left who could say so.
        let _ = self.0.changed().await;
    }
}

/// Serves until `shutdown`, then finishes what is being answered.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let router = router.layer(Extension(Stopping(stopping.clone())));
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, _))) => {
                let (router, stopping) = (router.clone(), stopping.clone());
                tokio::spawn(async move {
                    attend(stream, router, stopping).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "could not accept a connection");
                tokio::time::sleep(BREATH).await;
            }
            (Err(_), _) => break,
        }
    }
    drop((listener, router, stopping));
    // Every connection holds a receiver until it has ended.
    stop.send_replace(());
    let _ = tokio::time::timeout(GRACE + BREATH, stop.closed()).await;
}

async fn attend(stream: TcpStream, router: Router, mut stopping: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off, or speaks no HTTP, is its own affair.
        _ = &mut connection => return,
        _ = stopping.changed() => {}
        () = tokio::time::sleep(AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(GRACE, connection).await;
}
