//! Reads any bytes as PEM with certificates and keys, and as one certificate.
#![no_main]

use crm_admission::pki::{
    Authority, Facts, all_certificates, bundle, certificates, client_names, date, key_fits, private_key,
    trusting_ca, verify, write,
};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

const NOW: i64 = 1_800_000_000;
const NAME: &str = "crm-admission.crm-system.svc";

fuzz_target!(|bytes: &[u8]| {
    pem(bytes);
    // Changes of bytes are hidden in base64, so the bytes are also a certificate.
    pem(write(&[CertificateDer::from(bytes)]).as_bytes());
});

fn pem(pem: &[u8]) {
    let found = certificates(pem);
    assert_eq!(certificates(write(&found).as_bytes()), found);
    if let Some(cas) = bundle(pem) {
        assert!(!cas.is_empty() && cas.iter().all(|ca| found.contains(ca)));
        assert_eq!(bundle(write(&cas).as_bytes()), Some(cas));
    }
    if let Ok(all) = all_certificates(pem) {
        assert!(found.iter().all(|certificate| all.contains(certificate)));
    }
    for certificate in &found {
        describe(certificate);
        if let Ok(authority) = Authority::stored(certificate.clone(), pem) {
            assert_eq!(authority.certificate(), certificate);
            drop(authority.issue("fuzz", &[NAME.to_owned()], Facts::of(certificate).unwrap().validity));
        }
    }
    if let Err(error) = private_key(pem) {
        assert!(!error.to_string().is_empty());
    }
    drop(key_fits(&found, pem));
    let trusted = verify(&found, &found, NAME, NOW);
    if trusted.is_ok() {
        assert!(trusting_ca(&found, &found, NAME, NOW).is_ok());
    }
}

fn describe(certificate: &CertificateDer<'_>) {
    let Facts { validity, .. } = Facts::parse(certificate).unwrap();
    client_names(certificate);
    for time in [NOW, validity.not_before, validity.not_after] {
        validity.age(time);
        validity.days_left(time);
        validity.nearest(time);
        validity.past_half(time);
        assert!(!date(time).is_empty());
    }
    validity.created();
}
