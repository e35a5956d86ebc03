//! TLS with real certificates: which versions, a new certificate while requests run, files that
//! cannot be used.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, tls::Version};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{header, metric_of, server};
use crate::support::{Service, service::Launch, wait_until, wait_until_within};

/// A self-signed certificate for 127.0.0.1 that expires in this year.
pub struct Pem {
    pub chain: String,
    pub key: String,
}

pub fn certificate(expires: i32) -> Pem {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(expires, 1, 1);
    params.distinguished_name.push(DnType::CommonName, format!("until {expires}"));
    let key = KeyPair::generate().unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    Pem { chain, key: key.serialize_pem() }
}

pub struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    pub fn at(launch: &Launch) -> Files {
        Files { chain: launch.folder().join("tls.crt"), key: launch.folder().join("tls.key") }
    }

    /// Puts new files in the place of those before, as certificate managers do.
    pub fn replace(&self, chain: &str, key: &str) {
        let put = |file: &Path, text: &str| {
            let new = file.with_extension("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, file).unwrap();
        };
        put(&self.key, key);
        put(&self.chain, chain);
    }

    pub fn set(&self, launch: Launch) -> Launch {
        let launch = server(launch, "tls_certificate", self.chain.display());
        server(launch, "tls_key", self.key.display())
    }
}

/// A client that trusts these certificates only, and keeps no connection.
pub fn trusting(pems: &[&Pem]) -> reqwest::ClientBuilder {
    let roots = pems.iter().map(|pem| Certificate::from_pem(pem.chain.as_bytes()).unwrap());
    Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only(roots)
}

async fn text(client: &Client, service: &Service, path: &str) -> reqwest::Result<String> {
    client.get(format!("https://{}{path}", service.address)).send().await?.text().await
}

pub async fn started(launch: Launch, client: &Client) -> Service {
    let service = launch.start_to_listen().await;
    wait_until("it is ready", async || {
        let url = format!("https://{}/health/ready", service.address);
        client.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    service
}

/// Requests all the time, each on a connection of its own.
struct Readers {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(u64, u64)>,
}

impl Readers {
    fn start(client: Client, url: String) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut asked, mut failed) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let is_right =
                    client.get(&url).send().await.is_ok_and(|answer| answer.status() == 200);
                failed += u64::from(!is_right);
                asked += 1;
            }
            (asked, failed)
        });
        Readers { stop, task }
    }

    /// Stops, and says how many requests there were, and how many of them failed.
    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_while_requests_go_on_and_a_bad_one_is_not() {
    let launch = Service::on_sqlite();
    let (files, first, second) = (Files::at(&launch), certificate(2100), certificate(2101));
    files.replace(&first.chain, &first.key);
    let both = trusting(&[&first, &second]).build().unwrap();
    let only_second = trusting(&[&second]).build().unwrap();
    let service = started(files.set(launch), &both).await;
    let answer =
        both.get(format!("https://{}/v1/facilities", service.address)).send().await.unwrap();
    assert_eq!(header(&answer, "strict-transport-security"), Some("max-age=31536000"));
    only_second
        .get(format!("https://{}/health/live", service.address))
        .send()
        .await
        .expect_err("the first certificate is used");
    let expires = "server_tls_certificate_expires_timestamp_seconds";
    let metrics = async || text(&both, &service, "/metrics").await.unwrap();
    assert_eq!(metric_of(&metrics().await, expires), 4_102_444_800.0);

    let readers =
        Readers::start(both.clone(), format!("https://{}/v1/facilities", service.address));
    files.replace(&second.chain, &second.key);
    let patience = Duration::from_secs(60);
    wait_until_within(patience, "the second certificate is used", async || {
        text(&only_second, &service, "/health/live").await.is_ok()
    })
    .await;
    assert_eq!(metric_of(&metrics().await, expires), 4_133_980_800.0);

    // A key of another certificate, then no PEM: the second certificate stays, and all say so.
    for (chain, key, words) in [
        (second.chain.as_str(), first.key.as_str(), "is not the key of the certificate"),
        ("nonsense", second.key.as_str(), "server.tls_certificate"),
    ] {
        files.replace(chain, key);
        wait_until_within(patience, "readiness says what is wrong", async || {
            let ready = text(&only_second, &service, "/health/ready").await.unwrap();
            let ready: Value = serde_json::from_str(&ready).unwrap();
            let all = ready["dependencies"].as_array().unwrap();
            let one = all.iter().find(|one| one["name"] == "tls_certificate").unwrap();
            let remedy = one["remedy"].as_str().unwrap_or_default();
            assert!(!remedy.contains('/'), "everybody may read it, and it has a path: {remedy}");
            one["state"] == "down" && remedy.contains(words)
        })
        .await;
        assert_eq!(metric_of(&metrics().await, "server_tls_certificate_refused"), 1.0);
        let said = service.logs().join("\n");
        assert!(said.contains(words) && !said.contains("PRIVATE KEY"), "{said}");
    }
    files.replace(&first.chain, &first.key);
    // With clients of their own, as one that was there before may resume its session.
    let only_first = || trusting(&[&first]).build().unwrap();
    wait_until_within(patience, "the first certificate is used again", async || {
        metric_of(&metrics().await, "server_tls_certificate_refused") == 0.0
            && text(&only_first(), &service, "/health/live").await.is_ok()
    })
    .await;
    let (asked, failed) = readers.end().await;
    assert!(asked > 10 && failed == 0, "{failed} of {asked} failed");
}

#[tokio::test]
async fn tls_is_1_2_or_1_3_and_nothing_is_answered_without_it() {
    let launch = Service::on_sqlite();
    let (files, pem) = (Files::at(&launch), certificate(2100));
    files.replace(&pem.chain, &pem.key);
    let service = started(files.set(launch), &trusting(&[&pem]).build().unwrap()).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = trusting(&[&pem]).tls_version_min(version).tls_version_max(version);
        let answer =
            client.build().unwrap().get(format!("https://{}/health/live", service.address));
        let answer = answer.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
    }
    let plain = service.request(reqwest::Method::GET, "/health/live").send().await;
    assert!(plain.is_err(), "{plain:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start_by_name() {
    let (one, other) = (certificate(2100), certificate(2100));
    for (chain, key, words) in [
        (one.chain.as_str(), other.key.as_str(), "server.tls_key = "),
        ("", one.key.as_str(), "server.tls_certificate = "),
        (one.chain.as_str(), "", "server.tls_key = "),
        (one.key.as_str(), one.key.as_str(), "server.tls_certificate = "),
    ] {
        let launch = Service::on_sqlite();
        let files = Files::at(&launch);
        files.replace(chain, key);
        let refused = files.set(launch).run(&["serve"]).await;
        assert!(refused.code.is_some_and(|code| code != 0), "{}", refused.output);
        assert!(refused.output.contains(words), "{words}: {}", refused.output);
        assert!(!refused.output.contains("PRIVATE KEY"), "{}", refused.output);
    }
    let half = server(Service::on_sqlite(), "tls_key", "/tmp/key.pem").run(&["serve"]).await;
    assert_eq!(half.code, Some(2));
    assert!(half.output.contains("server.tls_certificate = not set"), "{}", half.output);
}
