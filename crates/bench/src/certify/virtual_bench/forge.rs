//! Certificates that no authority of the meter's would make, for the virtual bench to show.

use std::path::Path;
use std::time::{Duration, SystemTime};

use meterseal_link::{Identity, Peer};
use meterseal_model::Role;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, SanType,
};

use crate::certify::peer::{Shown, Side};
use crate::certify::{Trouble, peer};

/// A certificate for `whom` that is right in all but who signed it, as `shown` says. `pki` is the folder of the right authorities.
pub(super) fn forge(pki: &Path, side: Side, whom: &Peer, shown: peer::Shown) -> Result<Identity, Trouble> {
    let failed = |error: rcgen::Error| Trouble::Bench(format!("a certificate could not be made: {error}"));
    let read = |name: &str| {
        let path = pki.join(name);
        std::fs::read_to_string(&path).map_err(|error| Trouble::Bench(format!("{}: {error}", path.display())))
    };
    let ascii = |text: String| Ia5String::try_from(text).map(SanType::URI).map_err(failed);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Meterseal bench");
    params.subject_alt_names = vec![ascii(whom.uri())?];
    let dns = Ia5String::try_from(whom.dns_name()).map_err(failed)?;
    params.subject_alt_names.push(SanType::DnsName(dns));
    params.subject_alt_names.push(ascii(format!("urn:meterseal:role:{}", Role::Reader))?);
    params.extended_key_usages = vec![match side {
        Side::Caller => ExtendedKeyUsagePurpose::ClientAuth,
        Side::HeadEnd => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    params.use_authority_key_identifier_extension = shown != Shown::SelfSigned;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(HOUR);
    params.not_after = epoch + (now + 24 * HOUR);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
    let chain = match shown {
        Shown::SelfSigned => params.self_signed(&key).map_err(failed)?.pem(),
        Shown::OtherIntermediate => {
            let authority = read("certification.cert.pem")?;
            let theirs = KeyPair::from_pem(&read("certification.key.pem")?).map_err(failed)?;
            let issuer = Issuer::from_ca_cert_pem(&authority, theirs).map_err(failed)?;
            params.signed_by(&key, &issuer).map_err(failed)?.pem() + &authority
        }
        // The right names, another key: of a root that nobody here knows.
        _ => {
            let authority = read("utility.cert.pem")?;
            let theirs = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
            let issuer = Issuer::from_ca_cert_pem(&authority, theirs).map_err(failed)?;
            params.signed_by(&key, &issuer).map_err(failed)?.pem() + &authority
        }
    };
    Identity::from_pem(&chain, &key.serialize_pem(), Path::new("the forged identity"))
        .map_err(|error| Trouble::Bench(error.to_string()))
}

const HOUR: Duration = Duration::from_secs(3600);
