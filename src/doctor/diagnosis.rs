//! What can be wrong: a closed list of ids, each with its meaning and what to do about it.

use std::fmt;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// It could not be looked at, or need not be.
    Skipped,
    /// It works, but should be looked at.
    Warning,
    /// It does not work.
    Failure,
}

impl Level {
    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The parts of an installation, in the order in which they are examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Examination {
    /// The version of the API server.
    ApiServer,
    /// The custom resource definitions.
    Crds,
    /// The webhook configurations.
    Registration,
    /// The Service and its endpoints.
    Service,
    /// The port on which the webhook serves.
    Port,
    /// The certificate that is served, the Secret it is from, and who trusts it.
    Certificates,
    /// What the service account may do.
    Access,
    /// The policies.
    Policy,
    /// The replica that writes conditions.
    Conditions,
    /// Objects of another overlay, component or source of certificates.
    Leftovers,
    /// Dry runs through the API server.
    Canary,
}

impl Examination {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiServer => "api-server",
            Self::Crds => "crds",
            Self::Registration => "registration",
            Self::Service => "service",
            Self::Port => "port",
            Self::Certificates => "certificates",
            Self::Access => "access",
            Self::Policy => "policy",
            Self::Conditions => "conditions",
            Self::Leftovers => "leftovers",
            Self::Canary => "canary",
        }
    }
}

macro_rules! ids {
    ($($id:ident $text:literal $meaning:literal $remedy:literal)*) => {
        /// What was found. The ids are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Id {
            $(#[doc = $meaning] $id,)*
        }

        impl Id {
            /// All of them, in the order of the examinations.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];

            /// The id as reports spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text),* }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$id => $meaning),* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$id => $remedy),* }
            }
        }
    };
}

ids! {
    NotPermitted "not-permitted"
        "The current user lacks permission to read an object or to try the dry run, so this part was not examined."
        "Run `doctor` as a user with the permission that the message names."
    Unanswered "unanswered"
        "The API server did not answer a request in time, or answered with an error."
        "Check the API server. If it is slow, set a larger `--timeout`."
    ApiServerTooOld "api-server-too-old"
        "The API server is older than 1.31. Selecting people and notes by their references needs 1.31; stable `matchConditions` of webhooks and ValidatingAdmissionPolicies need 1.30."
        "Upgrade the control plane."
    CrdAbsent "crd-absent"
        "A custom resource definition does not exist, so the API server does not serve its kind."
        "Apply the definitions that `crm-admission crds` prints."
    CrdOutdated "crd-outdated"
        "A custom resource definition lacks something that this version of the program ships. Additional fields in the cluster are ignored, because definitions are upgraded before the program. If only descriptions and printer columns differ, this is a warning."
        "Apply the definitions that `crm-admission crds` prints."
    CrdNotEstablished "crd-not-established"
        "A custom resource definition exists, but the API server does not serve its kind: the names are taken, or the definition is being deleted or was just created."
        "Read the conditions of the definition."
    CrdStoredVersion "crd-stored-version"
        "Records may be stored in a version that this version of the program does not have."
        "Migrate the stored records before that version is removed."
    RegistrationAbsent "registration-absent"
        "A webhook configuration does not exist, so the API server does not call the webhook."
        "Apply the shipped configuration, and write the CA to it."
    RegistrationChanged "registration-changed"
        "A webhook configuration differs from the shipped one. The message names the fields. If only the timeout differs, this is a warning."
        "Apply the shipped configuration and write the CA to it again, or keep the change if it is intended."
    FloorAbsent "floor-absent"
        "Each write is one call, so the floor is the last check, but a part of it does not exist."
        "Apply the floor, or register for two calls again."
    FloorChanged "floor-changed"
        "Each write is one call, so the floor is the last check, but it differs from the shipped one. The message names the fields."
        "Apply the floor, or register for two calls again."
    WritesUnchecked "writes-unchecked"
        "Each write is one call, but a condition of `mutate.crm.milo.io` leaves complete and canonical records to `validate.crm.milo.io`, which is not registered. Only the floor checks them: their references may not exist."
        "Remove the condition, or register for two calls again. Then run `audit`, which finds the records that were written meanwhile."
    CaBundleEmpty "ca-bundle-empty"
        "A webhook has no `caBundle`, so the API server does not trust its certificate. If the webhook is called by URL, this is a warning, because the certificate may come from a public CA."
        "Write the CA to the configuration."
    CaBundleUnreadable "ca-bundle-unreadable"
        "A `caBundle` has no certificate, or one that cannot be read."
        "Write the CA to the configuration."
    ServiceAbsent "service-absent"
        "The Service through which the API server calls the webhook does not exist."
        "Install the server, or name its Service with `--service` and `--namespace`."
    ServicePortAbsent "service-port-absent"
        "The Service does not have the port that the webhook configurations name."
        "Add the port to the Service."
    ServiceWithoutEndpoints "service-without-endpoints"
        "No pod behind the Service is ready, so the API server gets no answer."
        "Find out what the pods wait for: `/readyz` of each pod lists it."
    WrongAddressFamily "wrong-address-family"
        "The Service has an IPv6 address, but the program listens on an IPv4 address only. If the Service has IPv4 addresses too, this is a warning."
        "Remove the flag or the environment variable: by default, the program listens on IPv6 and IPv4."
    PortNotProbed "port-not-probed"
        "The port was not tried, because a Service cannot be reached from outside the cluster."
        "Forward the port, and run `doctor` again with `--connect`."
    PortUnreachable "port-unreachable"
        "No TLS connection to the webhook at this address is possible. With `--connect`, the port forwarding itself may be the problem."
        "Check whether the program runs, what it logs, and whether a NetworkPolicy or a firewall blocks the connection."
    SecretAbsent "secret-absent"
        "The Secret with the certificate does not exist."
        "Find out why it was not created, create one yourself, or name it with `--tls-secret`."
    SecretForeign "secret-foreign"
        "The program runs with `--tls-self-managed`, but somebody else created the Secret, or cert-manager writes it. The program leaves it unchanged and is not ready."
        "Either serve with the certificate in it, as the overlays `cert-manager` and `own-certificate` do, or give the program a Secret of its own."
    CertificateContested "certificate-contested"
        "The program runs with `--tls-self-managed`, and cert-manager writes the same Secret, which the program then does not use, or the same `caBundle`, so that each of the two replaces what the other has written."
        "Stop cert-manager from writing it, or let it manage the certificate, as the overlay `cert-manager` does."
    SecretUnusable "secret-unusable"
        "The Secret with the certificate is incomplete, or its parts cannot be read or do not match."
        "Create it again."
    CertificateWrongName "certificate-wrong-name"
        "The certificate is not valid for the name by which the API server calls the webhook."
        "Create a certificate for that name. A self-managed certificate is replaced as soon as the program knows the name."
    CaBundleMismatch "ca-bundle-mismatch"
        "The `caBundle` of a webhook does not trust the certificate in the Secret, or the served one. Every call fails with `x509: certificate signed by unknown authority`."
        "Write the CA of the certificate to the configuration."
    CertificateExpired "certificate-expired"
        "The certificate, or the CA in a `caBundle`, has expired or is not valid yet."
        "Renew it."
    CertificateExpiresSoon "certificate-expires-soon"
        "The certificate, or the CA in a `caBundle`, expires in less than 14 days, or in the last fifth of its lifetime if that is less, and was not renewed."
        "Renew it, and find out why it was not renewed automatically."
    ServedDiffers "served-differs"
        "The served certificate is not the one in the Secret. After a renewal, the pods need a minute or two to load the new one."
        "Wait two minutes, then restart the pods."
    ServiceAccountAbsent "service-account-absent"
        "The service account does not exist, so no pod can run as it."
        "Apply the shipped RBAC permissions."
    RbacMissing "rbac-missing"
        "The service account lacks a permission that the program needs."
        "Apply the shipped RBAC permissions."
    GuardAbsent "guard-absent"
        "The service account may patch the webhook configurations, but a part of the guard, which limits this permission to `caBundle`, does not exist. With its token, an attacker could register a server for every kind in the cluster and become cluster admin."
        "Apply the guard, or revoke the permission."
    GuardChanged "guard-changed"
        "The service account may patch the webhook configurations, but the guard, which limits this permission to `caBundle`, differs from the shipped one, or its binding does not deny. The message names the fields."
        "Apply the guard, or revoke the permission."
    PolicyNotAccepted "policy-not-accepted"
        "The AdmissionPolicy `default` is invalid, and was stored while the API server could not call the webhook. Its last valid version, or the built-in policy, stays in force. The message names every problem."
        "Correct the policy."
    PolicyNotUsed "policy-not-used"
        "An AdmissionPolicy has a name other than `default`, so it has no effect."
        "Delete it, or move its content to the one named `default`."
    PolicyNotTaken "policy-not-taken"
        "No replica has reported yet whether it accepts the current version of the policy."
        "If this lasts longer than a few seconds, read the logs of the replicas."
    ConditionsNotWritten "conditions-not-written"
        "The program runs with `--conditions`, but no replica holds the Lease `crm-admission-conditions`, or its holder has not renewed it for a minute. So nobody writes the conditions of records. Reviews are not affected."
        "Read the log lines `the Lease cannot be acquired or renewed`. Usually a permission is missing."
    Leftover "leftover"
        "An object is still there that only another overlay or component, or another source of certificates, needs: a Certificate or Issuer of cert-manager, a permission, the floor, or the Lease of the replica that wrote conditions."
        "Delete it. `scripts/install` deletes what an earlier run of it has left."
    CanaryRefused "canary-refused"
        "The API server denied a valid Company, but not because of a rule of this webhook: it cannot call the webhook, or something else denied the request. The message is the API server's."
        "Follow the message. The findings before it often explain it."
    CanaryDenied "canary-denied"
        "The webhook works, but under the policy in force it denies the test Company of this user."
        "Nothing, if such records of this user should be denied."
    CanaryNotMutated "canary-not-mutated"
        "A Company was not completed: the API server did not call the mutating webhook. If the policy in force could not be read, this is a warning, because the policy may intend it."
        "Apply the shipped webhook configurations."
    CanaryAdmitted "canary-admitted"
        "A Company with a blank name was admitted: the API server did not call the webhook. If the policy has exemptions or a later start date, or could not be read, this is a warning."
        "Apply the shipped webhook configurations."
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What it is.
    pub id: Id,
    /// How bad it is.
    pub level: Level,
    /// The object it is about, such as `secret crm-admission-system/crm-admission-tls`.
    pub subject: String,
    /// What is wrong with it.
    pub text: String,
    /// The command that fixes it, or that shows more if no command can fix it.
    pub fix: String,
}

impl Diagnosis {
    pub(super) fn failure(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { id, level: Level::Failure, subject: subject.into(), text: text.into(), fix: fix.into() }
    }

    pub(super) fn warning(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::failure(id, subject, text, fix) }
    }

    pub(super) fn skipped(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Skipped, ..Self::failure(id, subject, text, fix) }
    }
}

/// What one examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which one.
    pub examination: Examination,
    /// What there is, where nothing is wrong.
    pub summary: String,
    /// What is wrong.
    pub findings: Vec<Diagnosis>,
}

impl Check {
    /// The worst of what was found.
    #[must_use]
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }
}

/// How many, and of what.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_in_kebab_case() {
        let texts: BTreeSet<&str> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(texts.len(), Id::ALL.len());
        for text in texts {
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{text}");
        }
    }
}
