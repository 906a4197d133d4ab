//! The wire: how calls reach a server and answers come back. A stream (plain or SASL frames, TCP or
//! TLS) or HTTP posts. Nobody waits here for longer than the caller does; what a caller that went
//! away had asked is finished before the next question.

use std::{io, sync::Arc};

use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    settings::{Login, Place},
    thrift::{self, LARGEST, Unread, Value},
};
use crate::{
    http::{self, BodyError},
    platform::PlatformError,
};

/// Questions that may wait for their answers on one stream: a server that is so far behind answers
/// no more.
const UNANSWERED: i32 = 8;

/// Longest word of a server about a login.
const LONGEST_WORD: usize = 16 * 1024;

/// Cookies kept for a session, and how long each may be.
const COOKIES: (usize, usize) = (16, 4096);

/// A way to a server. Not shared: a session has its own.
pub(super) struct Line {
    place: Arc<Place>,
    /// The number of the newest call.
    number: i32,
    way: Way,
}

enum Way {
    Stream(Stream),
    Http {
        cookies: Vec<(String, String)>,
    },
    /// It was a stream, and broke.
    Broken,
}

impl Line {
    /// Connects, and logs in where the transport wants that.
    pub(super) async fn open(place: &Arc<Place>) -> Result<Self, PlatformError> {
        let way = match &place.http {
            Some(_) => Way::Http { cookies: Vec::new() },
            None => Way::Stream(Stream::open(place).await?),
        };
        Ok(Self { place: Arc::clone(place), number: 0, way })
    }

    /// Whether nothing more comes this way.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.way, Way::Broken)
    }

    /// Calls a method and answers what it returned.
    pub(super) async fn call(&mut self, method: &str, request: Value) -> Result<Value, PlatformError> {
        self.number = self.number.wrapping_add(1);
        let bytes = thrift::call(method, self.number, request);
        let said = match &mut self.way {
            Way::Broken => Err(lost("the connection is lost")),
            Way::Http { cookies } => {
                let stood_in = !cookies.is_empty();
                match post(&self.place, cookies, bytes.clone()).await {
                    // A cookie that stood for the login has run out: the login itself is what counts.
                    Err(PlatformError::Denied { .. }) if stood_in => post(&self.place, cookies, bytes).await,
                    // Servers that were restarted choke on cookies of before. What must not be done twice
                    // is not asked for twice.
                    Err(PlatformError::Broken { .. }) if stood_in && method != "ExecuteStatement" => {
                        cookies.clear();
                        post(&self.place, cookies, bytes).await
                    }
                    said => said,
                }
            }
            Way::Stream(stream) => {
                let heard = stream.ask(self.number, bytes).await;
                if heard.is_err() {
                    self.way = Way::Broken;
                }
                heard
            }
        };
        said?.map_err(|words| PlatformError::Broken { detail: self.place.shown(&format!("{method}: {words}")) })
    }
}

/// What a method returned, or what Thrift had to say against the call.
type Said = Result<Value, String>;

fn lost(detail: impl Into<String>) -> PlatformError {
    PlatformError::Unreachable { detail: detail.into(), never_arrived: false }
}

fn broke(error: &io::Error) -> PlatformError {
    lost(format!("the connection broke: {error}"))
}

fn nonsense(what: &str) -> PlatformError {
    PlatformError::Nonsense { detail: what.to_owned() }
}

trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// A stream of messages. Its buffers outlive a call that was given up, so that neither half a
/// question nor half an answer is ever lost.
struct Stream {
    socket: Box<dyn Socket>,
    /// Messages stand in frames.
    framed: bool,
    /// What is to be sent, and how much of it was.
    out: (Vec<u8>, usize),
    /// What came, frames and all.
    raw: Vec<u8>,
    /// What came, out of its frames.
    plain: Vec<u8>,
    /// The last call that was answered.
    answered: i32,
}

impl Stream {
    async fn open(place: &Place) -> Result<Self, PlatformError> {
        let never = |what: &str, error: &io::Error| PlatformError::Unreachable {
            detail: format!("{what}: {error}"),
            never_arrived: true,
        };
        let host = place.host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, place.port)).await.map_err(|error| never("cannot connect", &error))?;
        let _ = socket.set_nodelay(true);
        let socket: Box<dyn Socket> = match &place.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| nonsense("the host's name cannot stand in a certificate"))?;
                let connecting = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
                Box::new(connecting.await.map_err(|error| never("no TLS", &error))?)
            }
        };
        let framed = matches!(place.login, Login::Plain);
        let mut stream = Self { socket, framed, out: (Vec::new(), 0), raw: Vec::new(), plain: Vec::new(), answered: 0 };
        if framed {
            stream.log_in(place).await?;
        }
        Ok(stream)
    }

    /// SASL PLAIN as Thrift has it: a status, a length, a word.
    async fn log_in(&mut self, place: &Place) -> Result<(), PlatformError> {
        const START: u8 = 1;
        const OK: u8 = 2;
        const BAD: u8 = 3;
        const ERROR: u8 = 4;
        const COMPLETE: u8 = 5;
        let word = |status: u8, word: &[u8]| {
            let length = u32::try_from(word.len()).unwrap_or(u32::MAX).to_be_bytes();
            [&[status][..], &length, word].concat()
        };
        let login = format!("\0{}\0{}", place.user, place.password.reveal());
        let mut hello = word(START, b"PLAIN");
        hello.extend(word(COMPLETE, login.as_bytes()));
        let trouble = |error: io::Error| PlatformError::Unreachable {
            detail: format!("the connection broke at the login: {error}"),
            never_arrived: true,
        };
        self.socket.write_all(&hello).await.map_err(trouble)?;
        self.socket.flush().await.map_err(trouble)?;
        loop {
            let mut head = [0; 5];
            self.socket.read_exact(&mut head).await.map_err(trouble)?;
            let [status, length @ ..] = head;
            let length = u32::from_be_bytes(length) as usize;
            if !(START..=COMPLETE).contains(&status) || length > LONGEST_WORD {
                return Err(nonsense("it does not speak SASL here; is `auth` right?"));
            }
            let mut said = vec![0; length];
            self.socket.read_exact(&mut said).await.map_err(trouble)?;
            match status {
                COMPLETE => return Ok(()),
                OK => {}
                BAD | ERROR => {
                    let said = place.shown(&String::from_utf8_lossy(&said));
                    return Err(PlatformError::Denied { detail: format!("login refused: {said}") });
                }
                _ => return Err(nonsense("it answers a login with another")),
            }
        }
    }

    /// Sends a call and reads until its answer. What answers an earlier one, that nobody waits for any
    /// more, is passed over.
    async fn ask(&mut self, number: i32, call: Vec<u8>) -> Result<Said, PlatformError> {
        if number.wrapping_sub(self.answered) > UNANSWERED {
            return Err(lost("it has not answered for a long time"));
        }
        if self.framed {
            self.out.0.extend(u32::try_from(call.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        self.out.0.extend(call);
        while self.out.1 < self.out.0.len() {
            let n = self.socket.write(&self.out.0[self.out.1..]).await.map_err(|error| broke(&error))?;
            if n == 0 {
                return Err(lost("the connection takes nothing more"));
            }
            self.out.1 += n;
        }
        self.out = (Vec::new(), 0);
        self.socket.flush().await.map_err(|error| broke(&error))?;
        loop {
            let answer = self.next().await?;
            if answer.number.wrapping_sub(self.answered) <= 0 || answer.number.wrapping_sub(number) > 0 {
                return Err(nonsense("it answers what was not asked"));
            }
            self.answered = answer.number;
            if answer.number == number {
                return Ok(answer.said);
            }
        }
    }

    async fn next(&mut self) -> Result<thrift::Answer, PlatformError> {
        let mut enough = 0;
        loop {
            self.unframe()?;
            if self.plain.len() >= enough {
                match thrift::answer(&self.plain) {
                    Ok((answer, length)) => {
                        self.plain.drain(..length);
                        return Ok(answer);
                    }
                    Err(Unread::More(least)) => enough = least,
                    Err(Unread::Wrong(why)) => return Err(nonsense(why)),
                }
            }
            let to = if self.framed { &mut self.raw } else { &mut self.plain };
            if self.socket.read_buf(to).await.map_err(|error| broke(&error))? == 0 {
                return Err(lost("it hung up"));
            }
        }
    }

    /// Takes whole frames out of what came.
    fn unframe(&mut self) -> Result<(), PlatformError> {
        while self.framed
            && let Some((head, rest)) = self.raw.split_at_checked(4)
        {
            let length = head.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            if length > LARGEST || self.plain.len() + length > 2 * LARGEST {
                return Err(nonsense("it announces a frame of more than 1 MB"));
            }
            let Some(frame) = rest.get(..length) else { break };
            self.plain.extend_from_slice(frame);
            self.raw.drain(..4 + length);
        }
        Ok(())
    }
}

/// One call by HTTP.
async fn post(place: &Place, cookies: &mut Vec<(String, String)>, call: Vec<u8>) -> Result<Said, PlatformError> {
    let Some(door) = &place.http else { return Err(lost("no address")) };
    let mut request = door
        .client
        .post(door.url.clone())
        .header(CONTENT_TYPE, "application/x-thrift")
        // Servers with a guard against forged requests want it; to others it is nothing.
        .header("X-XSRF-HEADER", "true")
        .header(AUTHORIZATION, door.authorization.clone());
    if !cookies.is_empty() {
        let kept: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut kept = HeaderValue::from_str(&kept.join("; ")).map_err(|_| nonsense("its cookies cannot be sent"))?;
        kept.set_sensitive(true);
        request = request.header(COOKIE, kept);
    }
    let answer = request.body(call).send().await.map_err(|error| PlatformError::Unreachable {
        never_arrived: error.is_connect() || error.is_builder(),
        detail: place.shown(&http::chain(error)),
    })?;
    let (status, pause) = (answer.status(), http::retry_after(answer.headers()));
    keep(cookies, answer.headers());
    let body = http::body(answer, LARGEST).await;
    if status == StatusCode::OK {
        let body = body.map_err(|error| match error {
            BodyError::TooLarge(_) => nonsense("its answer is longer than 1 MB"),
            BodyError::Broken(why) => lost(place.shown(&why)),
        })?;
        return match thrift::answer(&body) {
            Ok((answer, _)) => Ok(answer.said),
            Err(Unread::More(_)) => Err(nonsense("its answer ends in the middle")),
            Err(Unread::Wrong(why)) => Err(nonsense(why)),
        };
    }
    let words = body.unwrap_or_default();
    let line = String::from_utf8_lossy(&words[..words.len().min(4096)]).into_owned();
    let line = line.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<')).unwrap_or_default();
    let detail = place.shown(format!("{status} {line}").trim());
    Err(match status.as_u16() {
        401 | 403 => {
            cookies.clear();
            PlatformError::Denied { detail }
        }
        429 => PlatformError::Throttled { retry_after: pause },
        408 | 500..=599 => PlatformError::Broken { detail },
        400..=499 => PlatformError::Refused { detail },
        _ => PlatformError::Nonsense { detail: format!("it answers {}", status.as_u16()) },
    })
}

/// Keeps what a server, or a balancer before it, knows the session by.
fn keep(cookies: &mut Vec<(String, String)>, headers: &HeaderMap) {
    for header in headers.get_all(SET_COOKIE) {
        let Ok(text) = header.to_str() else { continue };
        let pair = text.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
            continue;
        };
        cookies.retain(|(known, _)| known != name);
        if !name.is_empty() && name.len() + value.len() <= COOKIES.1 && cookies.len() < COOKIES.0 {
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// The HTTP side of a place.
pub(super) struct Door {
    pub(super) client: reqwest::Client,
    pub(super) url: Url,
    pub(super) authorization: HeaderValue,
}
