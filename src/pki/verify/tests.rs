//! Tests the verification of certificates as API servers do it.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use time::OffsetDateTime;

use super::super::validity::DAY;
use super::*;

const NOW: i64 = 1_800_000_000;
const HOST: &str = "crm-admission.crm.svc";

type Der = CertificateDer<'static>;

fn params(names: &[&str], from: i64, until: i64) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}

fn ca_params(until: i64) -> CertificateParams {
    let mut params = params(&[], NOW - 100 * DAY, until);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "some CA");
    params
}

fn ca(key: &KeyPair, until: i64) -> Der {
    ca_params(until).self_signed(key).unwrap().der().clone()
}

fn leaf(key: &KeyPair, until: i64) -> Vec<Der> {
    let issuer = Issuer::new(ca_params(NOW), key);
    let own = KeyPair::generate().unwrap();
    vec![params(&[HOST], NOW - 10 * DAY, until).signed_by(&own, &issuer).unwrap().der().clone()]
}

#[test]
fn a_ca_that_has_expired_is_not_trusted() {
    let key = KeyPair::generate().unwrap();
    let (chain, expired) = (leaf(&key, NOW + DAY), ca(&key, NOW - 1));
    assert_eq!(verify(&chain, std::slice::from_ref(&expired), HOST, NOW), Err(Untrusted::NoCa));
    // It is still from this CA, which `trusting_ca` answers separately.
    assert_eq!(trusting_ca(&chain, std::slice::from_ref(&expired), HOST, NOW), Ok(&expired));
}

#[test]
fn of_two_cas_with_the_same_key_the_valid_one_counts() {
    let key = KeyPair::generate().unwrap();
    let cas = [ca(&key, NOW - 1), ca(&key, NOW + 500 * DAY), ca(&key, NOW + 5 * DAY)];
    let chain = leaf(&key, NOW + DAY);
    assert_eq!(trusting_ca(&chain, &cas, HOST, NOW), Ok(&cas[1]));
    assert_eq!(verify(&chain, &cas, HOST, NOW), Ok(()));
}

#[test]
fn a_certificate_may_be_trusted_itself() {
    let key = KeyPair::generate().unwrap();
    // Both as a CA and not as one, because tools create both.
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let mut params = params(&[HOST], NOW - DAY, NOW + DAY);
        params.is_ca = is_ca;
        let own = vec![params.self_signed(&key).unwrap().der().clone()];
        assert_eq!(verify(&own, &own, HOST, NOW), Ok(()));
        assert!(matches!(verify(&own, &own, "another.svc", NOW), Err(Untrusted::Name(_))));
        assert_eq!(verify(&own, &own, HOST, NOW + 2 * DAY), Err(Untrusted::NoCa));
    }
}

#[test]
fn of_several_reasons_the_most_specific_is_returned() {
    let [key, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let (chain, own, stranger) = (leaf(&key, NOW + DAY), ca(&key, NOW + DAY), ca(&other, NOW + DAY));
    for cas in [[own.clone(), stranger.clone()], [stranger.clone(), own.clone()]] {
        assert!(matches!(trusting_ca(&chain, &cas, "another.svc", NOW), Err(Untrusted::Name(_))));
    }
    assert!(matches!(verify(&[], std::slice::from_ref(&own), HOST, NOW), Err(Untrusted::Absent)));
    assert_eq!(verify(&chain, &[], HOST, NOW), Err(Untrusted::NoCa));
    assert!(matches!(verify(&chain, &[own], HOST, NOW + DAY + 1), Err(Untrusted::NoCa)));
}

#[test]
fn a_key_belongs_to_one_certificate() {
    let [key, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let chain = [ca(&key, NOW + DAY)];
    assert_eq!(key_fits(&chain, key.serialize_pem().as_bytes()), Ok(()));
    let why = key_fits(&chain, other.serialize_pem().as_bytes()).unwrap_err();
    assert_eq!(why, "it is not the key of the certificate");
    assert_eq!(key_fits(&chain, b"text").unwrap_err(), "it is not a private key in PEM");
}
