//! Certificates that our PKI would never make, signed by an authority that peers trust.

use std::path::Path;
use std::time::{Duration, SystemTime};

use meterseal_link::Identity;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384, SanType,
};

/// What to put into it.
#[derive(Clone, Copy)]
pub(crate) struct Forged<'a> {
    pub(crate) uris: &'a [&'a str],
    pub(crate) dns: &'a str,
    pub(crate) server_purpose: bool,
    pub(crate) authority: bool,
}

impl Forged<'_> {
    /// A sound meter: change what shall be wrong.
    pub(crate) fn meter() -> Self {
        Self {
            uris: &["urn:meterseal:meter:MSL0000000001"],
            dns: "msl0000000001.meter.meterseal.internal",
            server_purpose: false,
            authority: false,
        }
    }

    pub(crate) fn sign(&self, pki: &Path, authority: &str) -> Made {
        let read = |kind: &str| std::fs::read_to_string(pki.join(format!("{authority}.{kind}.pem"))).unwrap();
        let (certificate_pem, key_pem) = (read("cert"), read("key"));
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, KeyPair::from_pem(&key_pem).unwrap()).unwrap();

        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "forged");
        let ascii = |text: &str| Ia5String::try_from(text).unwrap();
        params.subject_alt_names = self.uris.iter().map(|uri| SanType::URI(ascii(uri))).collect();
        params.subject_alt_names.push(SanType::DnsName(ascii(self.dns)));
        params.extended_key_usages = vec![match self.server_purpose {
            true => ExtendedKeyUsagePurpose::ServerAuth,
            false => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        if self.authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        params.not_before = epoch + (now - Duration::from_secs(60));
        params.not_after = epoch + (now + Duration::from_secs(3600));
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Made { chain_pem: certificate.pem() + &certificate_pem, key_pem: key.serialize_pem() }
    }
}

pub(crate) struct Made {
    chain_pem: String,
    key_pem: String,
}

impl Made {
    pub(crate) fn identity(&self) -> Identity {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("certificate.pem"), &self.chain_pem).unwrap();
        std::fs::write(dir.path().join("key.pem"), &self.key_pem).unwrap();
        std::fs::set_permissions(dir.path().join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Identity::load(dir.path()).unwrap()
    }
}
