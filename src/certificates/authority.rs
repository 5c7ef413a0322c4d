//! Decides by wall clock what is due for the contents of the Secret, and makes it: a CA, or a certificate by it.
//!
//! Pure but for the chance that keys need. What is stored is all that there is to remember, so a replica that comes
//! back after any time, and finds anything, does what is due.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crm_core::api::installation::NAME;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use super::chain::{self, DAY, Facts, certificates};

/// How long a CA holds.
const CA_LIFE: i64 = 5 * 365 * DAY;
/// How long a certificate holds.
const LEAF_LIFE: i64 = 90 * DAY;
/// A certificate holds from a little before it was made: the clocks of API server and nodes differ.
const BACKDATE: i64 = DAY;
/// How many CAs are trusted besides the current one. More can only come from somebody who writes them there.
const MAX_OLDER: usize = 7;
/// How many names a certificate may have. They grow when replicas want different ones.
const MAX_NAMES: usize = 32;

/// Faults of a CA that depend on whose clock is asked.
const EXPIRED: &str = "has expired";
const NOT_YET: &str = "does not hold yet";

/// The four texts of the Secret, each empty where it is missing. Two are keys, so they are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// `tls.crt`: the certificate.
    pub certificate: Vec<u8>,
    /// `tls.key`: its key.
    pub key: Vec<u8>,
    /// `ca.crt`: the current CA, and then the older ones that must be trusted for a while yet.
    pub cas: Vec<u8>,
    /// `ca.key`: the key of the current CA.
    pub ca_key: Vec<u8>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// Whether those who call trust the current CA by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentCa {
    /// All of them do, and have had the time to take notice; or there is nobody who calls.
    Trusted,
    /// Not yet, or nobody knows.
    NotYet,
}

/// What counts besides what is stored.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The names that the certificate has to be for.
    pub names: &'a [String],
    /// What the webhook configurations trust now.
    pub live: &'a [CertificateDer<'static>],
    /// Whether the current CA is trusted by them all.
    pub current_ca: CurrentCa,
    /// The wall clock, in seconds of Unix time.
    pub now: i64,
}

/// Why something new is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no Secret.
    Absent,
    /// The current CA cannot be used.
    Ca(&'static str),
    /// Half of the current CA's life is over.
    CaHalf,
    /// The certificate cannot be used.
    Leaf(String),
    /// The certificate lacks a name.
    Name(String),
    /// Half of the certificate's life is over.
    LeafHalf,
    /// The certificate is by an older CA, and the current one is trusted now.
    Overlap,
    /// No certificate by an older CA can be served any more.
    OlderCa,
}

impl Why {
    /// Whether another clock might see no reason.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::CaHalf | Self::Ca(EXPIRED | NOT_YET))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there was none"),
            Self::Ca(fault) => write!(f, "the CA {fault}"),
            Self::CaHalf => f.write_str("half of the CA's life is over"),
            Self::Leaf(fault) => write!(f, "the certificate is no good: {fault}"),
            Self::Name(name) => write!(f, "the certificate is not for {name}"),
            Self::LeafHalf => f.write_str("half of the certificate's life is over"),
            Self::Overlap => f.write_str("the new CA is trusted now"),
            Self::OlderCa => f.write_str("the older CAs are not needed any more"),
        }
    }
}

/// What has to be stored instead of what is.
#[derive(Clone, Debug)]
pub struct Due {
    /// The new contents.
    pub contents: Contents,
    /// Why.
    pub why: Why,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name is none.
    #[error("{name:?} is no DNS name or IP address; mend --service, --namespace or --tls-san")]
    Name {
        /// Which.
        name: String,
    },
    /// The library refuses.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A date is none.
    #[error("the clock is far from any date that a certificate can have; set it")]
    Clock,
}

/// What is due; `None` if what is stored is good for a while.
///
/// A new CA comes first alone, beside the older ones, while the certificate stays. When it is trusted by those who
/// call, a certificate by it follows. Only a certificate that nobody could serve any more is replaced at once.
pub fn due(stored: Option<&Contents>, situation: &Situation<'_>) -> Result<Option<Due>, AuthorityError> {
    let Some(stored) = stored else {
        return renew_ca(&Contents::default(), situation, Why::Absent).map(Some);
    };
    let current = match CertificateAuthority::read(stored, situation.now) {
        Ok(current) => current,
        Err(fault) => return renew_ca(stored, situation, Why::Ca(fault)).map(Some),
    };
    if current.facts.past_half(situation.now) {
        return renew_ca(stored, situation, Why::CaHalf).map(Some);
    }
    if let Some(why) = leaf_is_due(stored, &current, situation) {
        let contents = renew_leaf(stored, &current, situation, &why)?;
        return Ok(Some(Due { contents, why }));
    }
    Ok(drop_older(stored, &current, situation))
}

fn leaf_is_due(stored: &Contents, current: &CertificateAuthority, situation: &Situation<'_>) -> Option<Why> {
    let bundle = certificates(&stored.cas);
    let leaf = match Leaf::read(stored, &bundle, situation.now) {
        Ok(leaf) => leaf,
        Err(fault) => return Some(Why::Leaf(fault)),
    };
    // A leaf by a CA that is not trusted yet would be refused: a valid one is better than one that is renewed.
    if situation.current_ca == CurrentCa::NotYet && !leaf.is_by(&current.der, situation.now) {
        return None;
    }
    if !leaf.is_by(&current.der, situation.now) {
        return Some(Why::Overlap);
    }
    if let Some(missing) = situation.names.iter().find(|name| !leaf.facts.names.contains(name)) {
        return Some(Why::Name(missing.clone()));
    }
    leaf.facts.past_half(situation.now).then_some(Why::LeafHalf)
}

/// A new CA beside all that are trusted now. The certificate stays if it can be served; else one by the new CA.
fn renew_ca(stored: &Contents, situation: &Situation<'_>, why: Why) -> Result<Due, AuthorityError> {
    let current = CertificateAuthority::make(situation.now)?;
    let mut bundle = vec![current.der.clone()];
    // What the configurations trust is what is being served by somebody, be it of a Secret that is lost or of
    // another product that made the certificates before.
    let known = certificates(&stored.cas).into_iter().chain(situation.live.iter().cloned());
    for der in known.filter(|der| Facts::of(der).is_some_and(|facts| facts.covers(situation.now))) {
        if bundle.len() <= MAX_OLDER && !bundle.contains(&der) {
            bundle.push(der);
        }
    }
    let contents = Contents {
        cas: chain::pem(&bundle).into_bytes(),
        ca_key: current.key.serialize_pem().into_bytes(),
        ..stored.clone()
    };
    let contents = match Leaf::read(&contents, &bundle, situation.now) {
        Ok(_) => contents,
        Err(_) => renew_leaf(&contents, &current, situation, &why)?,
    };
    Ok(Due { contents, why })
}

fn renew_leaf(
    stored: &Contents,
    current: &CertificateAuthority,
    situation: &Situation<'_>,
    why: &Why,
) -> Result<Contents, AuthorityError> {
    let mut names = situation.names.to_vec();
    if let Why::Name(_) = why {
        // Replicas that want different names, as in the middle of a rollout, would replace each other's certificate
        // for ever. So those of the old one stay until the next renewal.
        let old = certificates(&stored.certificate);
        let old = old.first().and_then(Facts::of).map(|facts| facts.names).unwrap_or_default();
        for name in old {
            if names.len() < MAX_NAMES && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let key = KeyPair::generate()?;
    let params = leaf_params(&names, situation.now)?;
    let issuer = Issuer::from_ca_cert_der(&current.der, &current.key)?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Contents {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        ..stored.clone()
    })
}

/// Takes the trust from older CAs once nobody can serve a certificate by them any more.
///
/// Their keys were lost when the current CA was made, as the Secret has room for one. So no certificate by them is
/// younger than the current CA, and its life is over when that has been there for as long.
fn drop_older(stored: &Contents, current: &CertificateAuthority, situation: &Situation<'_>) -> Option<Due> {
    let bundle = certificates(&stored.cas);
    let over =
        situation.now > made_at(&current.facts) + LEAF_LIFE && situation.current_ca == CurrentCa::Trusted;
    let kept: Vec<_> = bundle
        .iter()
        .filter(|der| {
            **der == current.der
                || (!over && Facts::of(der).is_some_and(|facts| facts.not_after >= situation.now))
        })
        .cloned()
        .collect();
    (kept.len() < bundle.len()).then(|| {
        let contents = Contents { cas: chain::pem(&kept).into_bytes(), ..stored.clone() };
        Due { contents, why: Why::OlderCa }
    })
}

/// When a CA of ours was made.
fn made_at(ca: &Facts) -> i64 {
    ca.not_before + BACKDATE
}

/// How long ago a CA of ours was made, by clocks that may differ a little.
pub fn age_of_ca(ca: &CertificateDer<'_>, now: i64) -> Option<Duration> {
    Facts::of(ca).map(|facts| Duration::from_secs(now.abs_diff(made_at(&facts))))
}

/// The CA that signs.
struct CertificateAuthority {
    der: CertificateDer<'static>,
    key: KeyPair,
    facts: Facts,
}

impl CertificateAuthority {
    fn read(stored: &Contents, now: i64) -> Result<Self, &'static str> {
        let der = certificates(&stored.cas).into_iter().next().ok_or("is missing or damaged")?;
        let facts = Facts::of(&der).ok_or("is damaged")?;
        if !facts.is_ca {
            return Err("may not sign");
        }
        if now < facts.not_before {
            return Err(NOT_YET);
        }
        if now > facts.not_after {
            return Err(EXPIRED);
        }
        let key = std::str::from_utf8(&stored.ca_key).ok().and_then(|text| KeyPair::from_pem(text).ok());
        let key = key.ok_or("has a key that is missing or damaged")?;
        let (_, parsed) = parse_x509_certificate(&der).map_err(|_| "is damaged")?;
        if key.subject_public_key_info() != parsed.public_key().raw {
            return Err("has the key of another");
        }
        Ok(Self { der, key, facts })
    }

    fn make(now: i64) -> Result<Self, AuthorityError> {
        let made = Timestamp::from_second(now).map_err(|_| AuthorityError::Clock)?;
        // With the date, so that people can tell them apart.
        let mut params = params(&format!("{NAME} CA {made}"), now, CA_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let der = params.self_signed(&key)?.der().clone();
        let facts = Facts::of(&der).ok_or(AuthorityError::Clock)?;
        Ok(Self { der, key, facts })
    }
}

/// A certificate that can be served, as somebody who trusts a bundle sees it.
struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    facts: Facts,
}

impl Leaf {
    fn read(stored: &Contents, bundle: &[CertificateDer<'static>], now: i64) -> Result<Self, String> {
        let chain = certificates(&stored.certificate);
        let facts = chain.first().and_then(Facts::of).ok_or("tls.crt is missing or damaged")?;
        chain::key_fits(&chain, &stored.key).map_err(|why| format!("tls.key: {why}"))?;
        let name = facts.names.first().ok_or("it is for no name")?;
        chain::verify(&chain, bundle, name, now).map_err(|why| why.to_string())?;
        Ok(Self { chain, facts })
    }

    fn is_by(&self, ca: &CertificateDer<'static>, now: i64) -> bool {
        let name = self.facts.names.first();
        name.is_some_and(|name| chain::verify(&self.chain, std::slice::from_ref(ca), name, now).is_ok())
    }
}

fn leaf_params(names: &[String], now: i64) -> Result<CertificateParams, AuthorityError> {
    // Subjects are limited to 64 characters, which a name may exceed; nobody looks at this one.
    let mut params = params(NAME, now, LEAF_LIFE)?;
    params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn alternative(name: &str) -> Result<SanType, AuthorityError> {
    let wrong = || AuthorityError::Name { name: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    rustls::pki_types::DnsName::try_from(name).map_err(|_| wrong())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| wrong())?))
}

fn params(common_name: &str, now: i64, life: i64) -> Result<CertificateParams, AuthorityError> {
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Clock);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(now.saturating_sub(BACKDATE))?;
    params.not_after = date(now.saturating_add(life))?;
    Ok(params)
}

#[cfg(test)]
mod tests;
