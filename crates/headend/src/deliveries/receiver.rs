//! Who is told of alarms: webhooks and syslog servers, checked before anything starts. What is not on this machine's
//! loopback is spoken to over TLS 1.3 only.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::Uri;
use meterseal_link::pki::read_secret;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{CipherSuite, ClientConfig, RootCertStore, version};
use zeroize::Zeroizing;

/// Somebody outside who is told of everything that happens to an alarm.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// How it is told.
#[derive(Clone)]
pub(super) enum Kind {
    Webhook { path: String, secret: Arc<Zeroizing<Vec<u8>>> },
    Syslog { datagrams: bool },
}

/// Where it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// Without it, only the loopback is spoken to.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { path, .. } => {
                f.debug_struct("Webhook").field("path", path).finish_non_exhaustive()
            }
            Self::Syslog { datagrams } => f.debug_struct("Syslog").field("datagrams", datagrams).finish(),
        }
    }
}

/// Why a receiver cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiverError {
    /// The address cannot be read.
    #[error("{address:?} is no address of a {kind}: write {form}")]
    Address {
        /// What was given.
        address: String,
        /// Webhook or syslog server.
        kind: &'static str,
        /// How it is written.
        form: &'static str,
    },
    /// It would leave this machine in the clear.
    #[error(
        "{address} would leave this machine in the clear: use {instead}, or an address of the loopback (127.0.0.1, [::1] or localhost)"
    )]
    InTheClear {
        /// What was given.
        address: String,
        /// What to use.
        instead: &'static str,
    },
    /// The webhook's secret.
    #[error(transparent)]
    Secret(#[from] meterseal_link::pki::PkiError),
    /// The secret is too short to sign with.
    #[error("the secret in {} has {found} characters, and {SECRET_LENGTH} are needed; write a longer one, for example from `openssl rand -hex 32`", .path.display())]
    ShortSecret {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// Authorities whose certificates are accepted.
    #[error("no authorities for TLS in {}: {reason}; name a file with certificates in PEM (--receiver-ca)", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Receiver {
    /// A webhook at `https://…`, or `http://…` on the loopback, which is signed with the secret in a file for its owner
    /// only. `authorities` sign its certificate; without it, those of the system.
    ///
    /// # Errors
    /// [`ReceiverError`].
    pub fn webhook(url: &str, secret: &Path, authorities: Option<&Path>) -> Result<Self, ReceiverError> {
        let bad = || ReceiverError::Address {
            address: url.to_owned(),
            kind: "webhook",
            form: "https://HOST[:PORT]/PATH",
        };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err(bad()),
        };
        // A name and a password in an address end up in logs.
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        let place = Place::new(
            url,
            scheme,
            scheme == "https",
            "https://",
            authority.host(),
            authority.port_u16().unwrap_or(default_port),
            authorities,
        )?;
        let text = read_secret(secret)?;
        let key = text.trim();
        if key.len() < SECRET_LENGTH {
            return Err(ReceiverError::ShortSecret { path: secret.to_owned(), found: key.len() });
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let secret = Arc::new(Zeroizing::new(key.as_bytes().to_vec()));
        Ok(Self { kind: Kind::Webhook { path, secret }, place })
    }

    /// A syslog server at `tls://HOST[:6514]` (RFC 5425), or on the loopback at `udp://HOST[:514]` (RFC 5426) or
    /// `tcp://HOST[:601]` (RFC 6587, octet counting).
    ///
    /// # Errors
    /// [`ReceiverError`].
    pub fn syslog(address: &str, authorities: Option<&Path>) -> Result<Self, ReceiverError> {
        let bad = || ReceiverError::Address {
            address: address.to_owned(),
            kind: "syslog server",
            form: "tls://HOST[:PORT], or on the loopback udp://HOST[:PORT] or tcp://HOST[:PORT]",
        };
        let uri: Uri = address.parse().map_err(|_| bad())?;
        let (scheme, port) = match uri.scheme_str() {
            Some("tls") => ("tls", 6514),
            Some("udp") => ("udp", 514),
            Some("tcp") => ("tcp", 601),
            _ => return Err(bad()),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad());
        }
        let port = authority.port_u16().unwrap_or(port);
        let secured = scheme == "tls";
        let place = Place::new(address, scheme, secured, "tls://", authority.host(), port, authorities)?;
        Ok(Self { kind: Kind::Syslog { datagrams: scheme == "udp" }, place })
    }

    /// The name under which its queue is kept and shown.
    pub fn name(&self) -> String {
        let Place { scheme, host, port, .. } = &self.place;
        match &self.kind {
            Kind::Webhook { path, .. } => format!("webhook {scheme}://{host}:{port}{path}"),
            Kind::Syslog { .. } => format!("syslog {scheme}://{host}:{port}"),
        }
    }
}

impl Place {
    fn new(
        address: &str,
        scheme: &str,
        secured: bool,
        instead: &'static str,
        host: &str,
        port: u16,
        authorities: Option<&Path>,
    ) -> Result<Self, ReceiverError> {
        if !secured && !is_loopback(host) {
            return Err(ReceiverError::InTheClear { address: address.to_owned(), instead });
        }
        let tls = if secured { Some(tls(authorities)?) } else { None };
        Ok(Self { scheme: scheme.to_owned(), host: host.to_owned(), port, tls })
    }

    /// The host without the brackets of an IPv6 address.
    pub(super) fn bare_host(&self) -> &str {
        bare(&self.host)
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether a host is this machine by its very name. What `localhost` leads to is looked at again when it is dialled.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || bare(host).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// TLS 1.3 with AES-256, and nothing else.
fn tls(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, ReceiverError> {
    let path = match authorities {
        Some(path) => path.to_owned(),
        None => system_authorities().ok_or_else(|| ReceiverError::Authorities {
            path: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            reason: "this system has none where systems have them".to_owned(),
        })?,
    };
    let failed = |reason: String| ReceiverError::Authorities { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        // A system's list may hold some that are not understood; without the one that matters, the dialling fails.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    let provider = aws_lc_rs::default_provider();
    let suites = provider.cipher_suites.iter().copied();
    let strong = suites.filter(|suite| suite.suite() == CipherSuite::TLS13_AES_256_GCM_SHA384).collect();
    let config =
        ClientConfig::builder_with_provider(Arc::new(CryptoProvider { cipher_suites: strong, ..provider }))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Where systems keep the authorities that they trust.
fn system_authorities() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(SYSTEM_AUTHORITIES.iter().map(PathBuf::from)).find(|path| path.is_file())
}

/// Debian and its kin, Red Hat and its kin, SUSE, BSDs.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Shortest secret, characters: 128 bits in hexadecimal digits.
const SECRET_LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn nothing_leaves_this_machine_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let key = secret(folder.path(), &"k".repeat(64), 0o600);
        for clear in [
            "http://example.org/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example.org/",
            "http://[2001:db8::1]/",
        ] {
            let refused = Receiver::webhook(clear, &key, None);
            assert!(matches!(refused, Err(ReceiverError::InTheClear { .. })), "{clear}");
        }
        for clear in ["udp://192.0.2.1:514", "tcp://log.example.org"] {
            let refused = Receiver::syslog(clear, None);
            assert!(matches!(refused, Err(ReceiverError::InTheClear { .. })), "{clear}");
        }
        for fine in ["http://127.0.0.1:9/x", "http://[::1]/", "http://localhost:8080/hook?a=b"] {
            assert!(Receiver::webhook(fine, &key, None).is_ok(), "{fine}");
        }
        assert_eq!(Receiver::syslog("udp://127.0.0.1", None).unwrap().name(), "syslog udp://127.0.0.1:514");
    }

    #[test]
    fn what_is_no_address_is_refused_and_so_is_a_password_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let key = secret(folder.path(), &"k".repeat(64), 0o600);
        for bad in ["", "127.0.0.1", "ftp://127.0.0.1/", "http://ann:pass@127.0.0.1/"] {
            assert!(
                matches!(Receiver::webhook(bad, &key, None), Err(ReceiverError::Address { .. })),
                "{bad}"
            );
        }
        for bad in ["127.0.0.1:514", "udp://127.0.0.1/path", "https://127.0.0.1"] {
            assert!(matches!(Receiver::syslog(bad, None), Err(ReceiverError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_others_can_read_or_guess_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = secret(folder.path(), &"k".repeat(64), 0o644);
        assert!(matches!(Receiver::webhook("http://[::1]/", &open, None), Err(ReceiverError::Secret(_))));
        let short = secret(folder.path(), "hunter2", 0o600);
        assert!(matches!(
            Receiver::webhook("http://[::1]/", &short, None),
            Err(ReceiverError::ShortSecret { found: 7, .. })
        ));
    }
}
