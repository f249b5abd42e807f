//! A failed handshake in one sentence that a person understands.

use std::io;

use meterseal_model::UnixMillis;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::PeerError;

/// Why a handshake or a connection failed, as the rest of a sentence about the peer: "it showed no certificate".
pub fn explain(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => PeerError::NoCertificate.to_string(),
        Error::InvalidCertificate(error) => certificate(error),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::NoApplicationProtocol => "it speaks another application protocol than meterseal/1".to_owned(),
        Error::InvalidMessage(_) => "it does not speak TLS, or sent a damaged message".to_owned(),
        Error::DecryptError => "a message could not be decrypted: damaged or forged".to_owned(),
        Error::UnsupportedNameType => "it was addressed by something else than a head-end's name".to_owned(),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// Like [`explain`], for the error that an encrypted stream gives.
pub fn explain_io(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return explain(error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it reset the connection".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        _ => format!("the connection failed: {error}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired at {}", moment(*not_after))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is valid only from {}; check the clocks", moment(*not_before))
        }
        CertificateError::UnknownIssuer => {
            "its certificate was issued by an authority not trusted here".to_owned()
        }
        CertificateError::BadSignature => {
            "a signature on its certificate or its handshake is wrong".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", dns_names(presented), expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose (a meter's used as a head-end's, or the other way round)"
                .to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate does not use ECDSA with P-384 and SHA-384".to_owned()
        }
        CertificateError::Other(inner) => {
            if let Some(error) = inner.0.downcast_ref::<PeerError>() {
                return error.to_string();
            }
            // rustls has no word of its own for this one.
            if let Some(webpki::Error::CaUsedAsEndEntity) = inner.0.downcast_ref() {
                return "its certificate is self-signed or an authority's own, not one that an authority issued to it"
                    .to_owned();
            }
            format!("its certificate is refused: {}", inner.0)
        }
        other => format!("its certificate is refused: {other}"),
    }
}

fn incompatible(error: &PeerIncompatible) -> String {
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "it does not offer TLS 1.3",
        PeerIncompatible::NoCipherSuitesInCommon => "it does not offer the cipher TLS_AES_256_GCM_SHA384",
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "it offers neither X25519MLKEM768 nor secp384r1"
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "it does not offer signatures with ECDSA, P-384 and SHA-384"
        }
        other => return format!("it lacks something that is required: {other:?}"),
    }
    .to_owned()
}

fn alerted(alert: AlertDescription) -> String {
    let reason = match alert {
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRevoked => "our certificate was revoked",
        AlertDescription::UnknownCA => "it does not trust the authority that issued our certificate",
        AlertDescription::CertificateRequired => "it wants a certificate and got none",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => "it does not accept our certificate",
        AlertDescription::ProtocolVersion => "it does not offer TLS 1.3",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it has no cipher, key exchange or signature in common with us"
        }
        AlertDescription::NoApplicationProtocol => "it does not speak meterseal/1",
        AlertDescription::UnrecognisedName => "it does not have the name that was addressed",
        other => return format!("it refused us: {other:?}"),
    };
    format!("it refused us: {reason}")
}

/// rustls gives the names as `DnsName("…")` and other kinds likewise; the DNS names are what was compared.
fn dns_names(presented: &[String]) -> String {
    let names = presented.iter().filter_map(|name| name.strip_prefix("DnsName(\"")?.strip_suffix("\")"));
    let names: Vec<_> = names.collect();
    if names.is_empty() { "no DNS name".to_owned() } else { names.join(" and ") }
}

fn moment(time: UnixTime) -> UnixMillis {
    UnixMillis(i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}
