//! Haste: a head that has begun must come soon, while a connection between two requests may rest.
//! The HTTP library has one bound for both.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};

/// What a connection is at. Each head has a number, so that two in a row are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of a request has come.
    Rests(u64),
    /// Part of a head has come, or all of it.
    Comes(u64),
    /// Its request is being answered.
    Answers(u64),
}

/// The heads that come over one connection.
#[derive(Clone, Debug)]
pub(super) struct Heads(Arc<watch::Sender<Stage>>);

/// A connection whose reads are noticed.
pub(super) struct Watched {
    socket: TcpStream,
    heads: Heads,
}

/// Notices when heads begin to come.
pub(super) fn watched(socket: TcpStream) -> (Watched, Heads) {
    let heads = Heads(Arc::new(watch::Sender::new(Stage::Rests(0))));
    (Watched { socket, heads: heads.clone() }, heads)
}

impl Heads {
    /// One has been read.
    pub(super) fn is_whole(&self) {
        self.0.send_modify(|stage| {
            let (Stage::Rests(n) | Stage::Comes(n) | Stage::Answers(n)) = *stage;
            *stage = Stage::Answers(n + 1);
        });
    }

    /// Its answer is made: what is read from now on is the next.
    pub(super) fn may_come(&self) {
        self.0.send_modify(|stage| {
            if let Stage::Answers(n) = *stage {
                *stage = Stage::Rests(n);
            }
        });
    }

    fn read(&self) {
        self.0.send_if_modified(|stage| match *stage {
            Stage::Rests(n) => {
                *stage = Stage::Comes(n);
                true
            }
            Stage::Comes(_) | Stage::Answers(_) => false,
        });
    }

    /// Ends when a head has taken longer than this.
    pub(super) async fn dawdle(&self, longest: Duration) {
        let mut stages = self.0.subscribe();
        loop {
            // The sender is here: waiting cannot fail.
            let coming = stages.wait_for(|stage| matches!(stage, Stage::Comes(_))).await.map(|stage| *stage);
            let Ok(coming) = coming else { return std::future::pending().await };
            if tokio::time::timeout(longest, stages.wait_for(|stage| *stage != coming)).await.is_err() {
                return;
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, into);
        if into.filled().len() > before {
            self.heads.read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
