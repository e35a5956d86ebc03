//! An OpenID provider on a port of this machine: discovery, keys and the exchange of codes over
//! real HTTP. A test changes what it answers while it runs.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What the provider answers to a path.
#[derive(Clone)]
pub enum Answer {
    /// 200 with this body.
    Body(Vec<u8>),
    /// Another status, with more head lines.
    Status(&'static str, String),
    /// The body after `release` was called.
    Held(Vec<u8>),
    /// This body, of which nothing says how long it is.
    Unbounded(Vec<u8>),
}

/// A provider that runs.
pub struct OpenId {
    pub address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

struct State {
    discovery: Mutex<Answer>,
    keys: Mutex<Answer>,
    codes: Mutex<Codes>,
    discovered: AtomicUsize,
    fetched: AtomicUsize,
    other: AtomicUsize,
    released: watch::Sender<bool>,
}

/// What the provider does with codes.
#[derive(Default)]
struct Codes {
    /// The hash of the verifier that must come with the code (PKCE).
    challenge: String,
    /// The ID token that it then gives.
    id_token: String,
    /// Where it sends who has a code.
    redirect: Option<String>,
    /// The requests so far: the head and the form.
    asked: Vec<(String, String)>,
}

impl OpenId {
    /// A provider with these keys, as JWKs.
    pub async fn start(keys: &[Value]) -> OpenId {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            discovery: Mutex::new(Answer::Body(Vec::new())),
            keys: Mutex::new(Answer::Body(Vec::new())),
            codes: Mutex::default(),
            discovered: AtomicUsize::new(0),
            fetched: AtomicUsize::new(0),
            other: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        });
        let server = Some(tokio::spawn(serve(listener, state.clone())));
        let provider = OpenId { address, state, server };
        let issuer = provider.issuer();
        let document = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/keys"),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "end_session_endpoint": format!("{issuer}/end"),
            "authorization_response_iss_parameter_supported": true,
        });
        provider.discover(Answer::Body(document.to_string().into()));
        provider.rotate(keys);
        provider
    }

    /// Its name, which is also its URL.
    pub fn issuer(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    /// From now on it has these keys.
    pub fn rotate(&self, keys: &[Value]) {
        self.answer(Answer::Body(jwks(keys)));
    }

    /// From now on it answers so when asked for its keys.
    pub fn answer(&self, answer: Answer) {
        *self.state.keys.lock().expect("no test panics with it") = answer;
    }

    /// From now on it answers so when asked for its discovery document.
    pub fn discover(&self, answer: Answer) {
        *self.state.discovery.lock().expect("no test panics with it") = answer;
    }

    /// From now on it gives this ID token for a code with the verifier of this challenge.
    pub fn give(&self, challenge: &str, id_token: &str) {
        let mut codes = self.state.codes.lock().expect("no test panics with it");
        (codes.challenge, codes.id_token) = (challenge.to_owned(), id_token.to_owned());
    }

    /// From now on it sends whoever exchanges a code to this URL.
    pub fn redirect_codes(&self, to: Option<String>) {
        self.state.codes.lock().expect("no test panics with it").redirect = to;
    }

    /// The codes that it was asked to exchange: the head and the form of each request.
    pub fn exchanged(&self) -> Vec<(String, String)> {
        self.state.codes.lock().expect("no test panics with it").asked.clone()
    }

    /// Sends what is held.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// How often it was asked for its discovery document, for its keys, and for anything else.
    pub fn asked(&self) -> (usize, usize, usize) {
        let State { discovered, fetched, other, .. } = &*self.state;
        let [discovered, fetched, other] =
            [discovered, fetched, other].map(|count| count.load(Ordering::SeqCst));
        (discovered, fetched, other)
    }

    /// Nobody listens on its port any more.
    pub async fn go_away(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// It listens again on its port.
    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.server = Some(tokio::spawn(serve(listener, self.state.clone())));
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// Gives the ID token, where the verifier fits.
fn exchange(state: &State, head: &str, form: String) -> Answer {
    let mut codes = state.codes.lock().expect("no test panics with it");
    codes.asked.push((head.to_owned(), form.clone()));
    if let Some(to) = &codes.redirect {
        // The method and the body stay.
        return Answer::Status("307 Temporary Redirect", format!("location: {to}\r\n"));
    }
    let url = reqwest::Url::parse(&format!("http://form/?{form}")).expect("it is a form");
    let verifier = url.query_pairs().find(|(name, _)| name == "code_verifier");
    let hash = verifier.map(|(_, verifier)| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        URL_SAFE_NO_PAD.encode(hash)
    });
    match hash == Some(codes.challenge.clone()) {
        true => {
            let answer = json!({"token_type": "Bearer", "id_token": codes.id_token});
            Answer::Body(answer.to_string().into())
        }
        false => Answer::Status("400 Bad Request", String::new()),
    }
}

/// A JWKS of these keys.
pub fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into()
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        // A client that goes away is none of the provider's faults.
        tokio::spawn(async move { drop(respond(stream, &state).await) });
    }
}

async fn respond(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let answer = match head.split(' ').nth(1).unwrap_or_default() {
        "/realm/.well-known/openid-configuration" => {
            state.discovered.fetch_add(1, Ordering::SeqCst);
            state.discovery.lock().expect("no test panics with it").clone()
        }
        "/realm/keys" => {
            state.fetched.fetch_add(1, Ordering::SeqCst);
            state.keys.lock().expect("no test panics with it").clone()
        }
        "/realm/token" => {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let mut form = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut form).await?;
            exchange(state, &head, String::from_utf8_lossy(&form).into_owned())
        }
        _ => {
            state.other.fetch_add(1, Ordering::SeqCst);
            Answer::Status("404 Not Found", String::new())
        }
    };
    let (status, lines, body) = match answer {
        Answer::Body(body) => ("200 OK", format!("content-length: {}\r\n", body.len()), body),
        Answer::Unbounded(body) => ("200 OK", String::new(), body),
        Answer::Status(status, lines) => (status, format!("{lines}content-length: 0\r\n"), vec![]),
        Answer::Held(body) => {
            let mut released = state.released.subscribe();
            let _ = released.wait_for(|is_released| *is_released).await;
            ("200 OK", format!("content-length: {}\r\n", body.len()), body)
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}
