//! TLS: the certificate of the listener for everybody. The files are looked at each two seconds.
//! What has changed is used for the next connections; where it cannot be used, the certificate
//! before is kept, and the log, readiness and a metric say so.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;
use x509_cert::{Certificate as X509, der::Decode};

use crate::{
    config::{ServerSettings, SettingsError},
    metrics::Metrics,
};

/// The time between two looks at the files.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// The certificate in use, and where it comes from.
pub struct Certificate {
    chain_file: PathBuf,
    key_file: PathBuf,
    used: Arc<Used>,
    /// The files as they were read last, whether they could be used or not.
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

/// What connections are made with.
#[derive(Debug)]
struct Used(ArcSwap<CertifiedKey>);

#[derive(Default)]
struct Seen {
    stamps: Option<[Stamp; 2]>,
    /// Why they cannot be used.
    fault: Option<Fault>,
}

/// What tells that a file has changed.
type Stamp = (Option<SystemTime>, u64, u64);

impl ResolvesServerCert for Used {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Shows nothing of the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain_file", &self.chain_file).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the files of the settings; `None` where TLS is not set.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn open(
        settings: &ServerSettings,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, SettingsError> {
        let Some((chain_file, key_file)) = settings.tls() else { return Ok(None) };
        let stamps = stamps(chain_file, key_file);
        let (key, expires) = load(chain_file, key_file)
            .map_err(|fault| SettingsError::new(fault.setting, &fault.file, &fault.what))?;
        metrics.certificate_expires.set(expires);
        tracing::info!(file = %chain_file.display(), %expires, "the certificate of TLS was read");
        Ok(Some(Arc::new(Certificate {
            chain_file: chain_file.clone(),
            key_file: key_file.clone(),
            used: Arc::new(Used(ArcSwap::from_pointee(key))),
            seen: Mutex::new(Seen { stamps: Some(stamps), fault: None }),
            metrics: metrics.clone(),
        })))
    }

    /// What the listener needs: TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// The crypto provider lacks what these versions need.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        Ok(ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(self.used.clone()))
    }

    /// Why the files cannot be used now; `None` where they are in use. Everybody may read it, so
    /// the paths stand in the log only.
    pub fn fault(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.fault.as_ref().map(|fault| format!("the file of {} {}", fault.setting, fault.what))
    }

    /// Looks at the files until the service stops.
    pub async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(BETWEEN_LOOKS)).await.is_some() {
            let certificate = self.clone();
            // A file system that hangs must not stop anything else.
            let _ = tokio::task::spawn_blocking(move || certificate.look()).await;
        }
    }

    /// Reads the files if they have changed.
    fn look(&self) {
        let now = stamps(&self.chain_file, &self.key_file);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps == Some(now) {
            return;
        }
        let file = self.chain_file.display();
        match load(&self.chain_file, &self.key_file) {
            Ok((key, expires)) => {
                self.used.0.store(Arc::new(key));
                self.metrics.certificate_expires.set(expires);
                self.metrics.certificate_refused.set(0);
                tracing::info!(%file, %expires, "the new certificate of TLS is in use");
                *seen = Seen { stamps: Some(now), fault: None };
            }
            Err(fault) => {
                self.metrics.certificate_refused.set(1);
                if seen.fault.as_ref() != Some(&fault) {
                    tracing::error!(
                        %fault,
                        "the certificate of TLS has changed, and cannot be used; the one before \
                         is kept"
                    );
                }
                *seen = Seen { stamps: Some(now), fault: Some(fault) };
            }
        }
    }
}

/// Why files cannot be used. It shows nothing of what is in them.
#[derive(Clone, PartialEq, Eq)]
struct Fault {
    setting: &'static str,
    file: String,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.setting, self.file, self.what)
    }
}

fn stamps(chain_file: &Path, key_file: &Path) -> [Stamp; 2] {
    use std::os::unix::fs::MetadataExt;
    [chain_file, key_file].map(|file| match std::fs::metadata(file) {
        Ok(metadata) => (metadata.modified().ok(), metadata.len(), metadata.ino()),
        Err(_) => (None, 0, 0),
    })
}

/// Reads both files. Returns what connections need, and when the certificate expires, in seconds
/// since 1970.
fn load(chain_file: &Path, key_file: &Path) -> Result<(CertifiedKey, i64), Fault> {
    let chain_fault = |what: String| Fault {
        setting: "server.tls_certificate",
        file: chain_file.display().to_string(),
        what,
    };
    let key_fault = |what: String| Fault {
        setting: "server.tls_key",
        file: key_file.display().to_string(),
        what,
    };
    let chain = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| chain_fault(format!("cannot be read as PEM: {error}")))?;
    let first = chain.first().ok_or_else(|| chain_fault("has no certificate".into()))?;
    let expires = expires(first).ok_or_else(|| chain_fault("is no X.509 certificate".into()))?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| key_fault(format!("cannot be read as a private key in PEM: {error}")))?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| key_fault("is no key that TLS can use: RSA, ECDSA or Ed25519".into()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok((certified, expires))
        }
        Err(_) => Err(key_fault("is not the key of the certificate".into())),
    }
}

/// When a certificate expires, in seconds since 1970.
fn expires(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = X509::from_der(certificate).ok()?;
    let until = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    i64::try_from(until.as_secs()).ok()
}
