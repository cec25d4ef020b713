//! TLS for SIP (RFC 3261 §26.2.1, RFC 5630): our certificate, read again whenever its file changes, and whom we trust.
#![expect(clippy::disallowed_methods, reason = "certificates are files")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{error, info, warn};

use super::certificate::not_after;
use crate::config::Identity;
use crate::edge::clock;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often the log warns of a certificate that expires soon.
const WARN_EVERY: Duration = Duration::from_secs(12 * 3_600);

/// A certificate that expires within this many hours is warned of: three weeks, the last third of a free certificate's renewal time.
const WARN_WITHIN_HOURS: i64 = 21 * 24;

/// Shakes hands with whoever connects, with the certificate that is in force.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// Our certificate, which changes while connections come and go.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Live>);

#[derive(Debug)]
struct Live {
    files: Identity,
    key: RwLock<Arc<CertifiedKey>>,
    /// Seconds since 1970; 0 when it cannot be read.
    expires: AtomicI64,
    reloads: AtomicU64,
    look: Notify,
}

/// What tells that a file was changed or replaced.
type Stamp = [(Option<SystemTime>, u64); 2];

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// When a file cannot be read, holds nothing usable, or the key is another certificate's.
    pub fn load(files: Identity) -> anyhow::Result<Self> {
        let (key, expires) = read(&files)?;
        let live = Live {
            files,
            key: RwLock::new(Arc::new(key)),
            expires: AtomicI64::new(expires.map_or(0, Timestamp::as_second)),
            reloads: AtomicU64::new(0),
            look: Notify::new(),
        };
        let certificate = Self(Arc::new(live));
        certificate.warn();
        Ok(certificate)
    }

    /// Shakes hands with it, whichever it is by then.
    ///
    /// # Errors
    /// When the cryptography has no version of TLS that is safe, which would be a fault of the build.
    pub fn acceptor(&self) -> anyhow::Result<Acceptor> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// When it expires; `None` when that cannot be read.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        let seconds = self.0.expires.load(Ordering::Relaxed);
        Timestamp::from_second(seconds).ok().filter(|_| seconds != 0)
    }

    /// How often it was replaced by another.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.0.reloads.load(Ordering::Relaxed)
    }

    /// Looks at the files now, whether or not they seem changed.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// Reads the files again whenever they change, and warns of the end. A pair that does not fit, as while the files are being replaced
    /// one after the other, is told of in the log; the former goes on.
    pub async fn watch(self) {
        let mut seen = stamp(&self.0.files);
        let mut warned = tokio::time::Instant::now();
        loop {
            let asked = tokio::select! {
                () = self.0.look.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let found = stamp(&self.0.files);
            if asked || found != seen {
                match read(&self.0.files) {
                    Ok((key, expires)) => self.replace(key, expires),
                    Err(error) => error!("the certificate is not replaced, the former goes on: {error:#}"),
                }
                seen = found;
            }
            if warned.elapsed() >= WARN_EVERY {
                warned = tokio::time::Instant::now();
                self.warn();
            }
        }
    }

    fn replace(&self, key: CertifiedKey, expires: Option<Timestamp>) {
        *self.0.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        self.0.expires.store(expires.map_or(0, Timestamp::as_second), Ordering::Relaxed);
        self.0.reloads.fetch_add(1, Ordering::Relaxed);
        info!("the certificate was read again: {}", self.end());
        self.warn();
    }

    fn warn(&self) {
        let Some(expires) = self.expires() else { return };
        let hours = expires.duration_since(clock::now().wall).as_hours();
        let path = self.0.files.certificate.display();
        if hours < 0 {
            error!("the certificate {path} has expired: phones and browsers refuse it ({})", self.end());
        } else if hours < WARN_WITHIN_HOURS {
            warn!("the certificate {path} expires in {} days ({})", hours / 24, self.end());
        }
    }

    fn end(&self) -> String {
        self.expires().map_or_else(|| "its end cannot be read".into(), |expires| format!("valid until {expires}"))
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Acceptor {
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

/// What we connect with: it trusts the certificates in `ca`, or those that the system trusts.
///
/// # Errors
/// When there is none to trust.
pub fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| format!("{}", path.display()))?;
            }
        }
        None => {
            let (_, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        bail!("no certificate is trusted: name some with --ca or [sip] ca");
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(files: &Identity) -> anyhow::Result<(CertifiedKey, Option<Timestamp>)> {
    let chain = certificates(&files.certificate)?;
    let expires = chain.first().and_then(|first| not_after(first));
    let path = files.key.display();
    let pem = std::fs::read(&files.key).with_context(|| format!("cannot read {path}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&pem).ok().with_context(|| format!("{path} holds no private key in PEM"))?;
    let key = CertifiedKey::from_der(chain, key, &provider())
        .with_context(|| format!("{path} and {} do not fit", files.certificate.display()))?;
    Ok((key, expires))
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.with_context(|| format!("{} is no PEM", path.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(chain)
}

fn stamp(files: &Identity) -> Stamp {
    [&files.certificate, &files.key].map(|path: &PathBuf| {
        // A link is followed: what it leads to is what counts.
        let data = std::fs::metadata(path);
        data.map_or((None, 0), |data| (data.modified().ok(), data.len()))
    })
}
