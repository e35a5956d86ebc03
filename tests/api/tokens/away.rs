use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::support::{
    openid::{Answer, jwks},
    wait_until,
};

/// What this process has logged about tokens. The issuer's port tells the tests apart.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_env_filter("facility_summary::access=info")
        .with_writer(log.clone())
        .with_ansi(false)
        .init();
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// How many lines about this issuer have these words.
    fn count(&self, issuer: &str, words: &str) -> usize {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter(|line| line.contains(issuer) && line.contains(words)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn the_last_good_keys_count_while_the_provider_is_away_and_the_log_says_so_once() {
    LazyLock::force(&LOG);
    let (old, new) = (Pair::new("k1"), Pair::new("k2"));
    let mut provider = OpenId::start(std::slice::from_ref(&old.jwk)).await;
    let tokens = tokens_of(&provider, AT_ONCE);
    let [of_old, of_new] = [&old, &new].map(|pair| pair.token(&provider.issuer()));
    assert_eq!(judge(&tokens, &of_old).await, "accepted");
    provider.go_away().await;
    for _ in 0..3 {
        // It may have been signed with a key that the provider has made meanwhile.
        let refused = tokens.verify(&of_new, now_ms()).await;
        assert_eq!(class(&refused), "unavailable");
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("may have a newer key \"k2\""), "{words}");
        assert_eq!(judge(&tokens, &of_old).await, "accepted");
    }
    let state = &tokens.state()[0].keys;
    assert_eq!((state.keys, state.last_error), (1, Some("connect")));
    assert!(state.fetched_ago.is_some());
    assert_eq!(LOG.count(&provider.issuer(), "the last ones go on to count"), 1);
    provider.rotate(&[old.jwk.clone(), new.jwk.clone()]);
    provider.come_back().await;
    assert_eq!(judge(&tokens, &of_new).await, "accepted");
    assert_eq!(tokens.state()[0].keys.last_error, None);
    assert_eq!(
        LOG.count(&provider.issuer(), "got the provider's keys"),
        2,
        "at the start, and now"
    );
}

#[tokio::test]
async fn tokens_are_answered_503_until_the_keys_were_got_once() {
    LazyLock::force(&LOG);
    let pair = Pair::new("k1");
    let mut provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    provider.go_away().await;
    let tokens = Arc::new(tokens_of(&provider, Pace { retry: LONG, ..AT_ONCE }));
    let token = pair.token(&provider.issuer());
    for _ in 0..3 {
        let refused = tokens.verify(&token, now_ms()).await;
        assert_eq!(class(&refused), "unavailable");
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("have not been fetched yet (connect)"), "{words}");
    }
    assert_eq!(LOG.count(&provider.issuer(), "its tokens are answered 503 until they are"), 1);
    provider.come_back().await;
    assert_eq!(judge(&tokens, &token).await, "unavailable", "the next try is not due");
    assert_eq!(provider.asked(), (0, 0, 0));
    // What is wrong with a token without its keys is said all the same.
    let other = pair.token("https://other.example");
    assert_eq!(judge(&tokens, &other).await, "issuer");

    // In the background the next try is soon.
    let pace = Pace { retry: Duration::from_millis(10), ..AT_ONCE };
    provider.go_away().await;
    let tokens = Arc::new(tokens_of(&provider, pace));
    let stop = CancellationToken::new();
    let job = tokio::spawn(tokens.clone().keep_current(stop.clone()));
    wait_until("the first try has failed", async || {
        tokens.state()[0].keys.last_error == Some("connect")
    })
    .await;
    provider.come_back().await;
    wait_until("the keys are there", async || tokens.state()[0].keys.keys == 1).await;
    stop.cancel();
    job.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_of_no_use_leaves_the_keys_as_they_are_and_is_named() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let pace = Pace { timeout: Duration::from_millis(500), ..AT_ONCE };
    let tokens = tokens_of(&provider, pace);
    let token = pair.token(&provider.issuer());
    assert_eq!(judge(&tokens, &token).await, "accepted");
    let unknown = pair.token_with(&provider.issuer(), |header| header.kid = Some("k2".into()));
    let right = String::from_utf8(jwks(std::slice::from_ref(&pair.jwk))).unwrap();
    let padded = |bytes: usize| format!("{right}{}", " ".repeat(bytes - right.len())).into_bytes();
    let answers = [
        (Answer::Body(b"<html>sign in</html>".to_vec()), "keys"),
        (Answer::Body(right.as_bytes()[..right.len() - 2].to_vec()), "keys"),
        (Answer::Body(jwks(&[])), "keys"),
        (Answer::Body(vec![0xff; 100]), "keys"),
        (Answer::Status("500 Internal Server Error", String::new()), "status"),
        (Answer::Status("204 No Content", String::new()), "status"),
        (Answer::Body(padded((1 << 20) + 1)), "too_large"),
        (Answer::Unbounded(padded(3 << 20)), "too_large"),
        (Answer::Held(jwks(&[])), "timeout"),
    ];
    for (answer, error) in answers {
        provider.answer(answer);
        assert_eq!(judge(&tokens, &unknown).await, "unavailable", "{error}");
        assert_eq!(tokens.state()[0].keys.last_error, Some(error));
        assert_eq!(judge(&tokens, &token).await, "accepted", "{error}");
    }
    provider.answer(Answer::Body(padded(1 << 20)));
    assert_eq!(judge(&tokens, &unknown).await, "key");
    assert_eq!(tokens.state()[0].keys.last_error, None);
}
