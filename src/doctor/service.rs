//! Checks whether ready pods are behind the Service.

use std::net::SocketAddrV4;

use serde_json::Value;

use super::diagnosis::{Check, Diagnosis, Examination, Id, counted};
use super::shipped::{NAME, REGISTRATION_PATH};
use super::snapshot::Snapshot;
use super::source::setting;
use super::target::{Settings, Target, kubectl};

/// The flags of the addresses, and their environment variables.
const LISTEN: [(&str, &str); 2] =
    [("--listen", "CRM_ADMISSION_LISTEN"), ("--admin-listen", "CRM_ADMISSION_ADMIN_LISTEN")];

pub(super) fn judge(snapshot: &Snapshot, target: &Target, settings: &Settings) -> Check {
    let subject = format!("service {}/{}", settings.namespace, settings.service);
    let mut findings = Vec::new();
    let mut ready = 0;
    match snapshot.service.known(&subject) {
        Err(finding) => findings.push(finding),
        Ok(None) if !target.is_service() => {}
        Ok(None) => findings.push(absent(&subject, settings)),
        Ok(Some(service)) => {
            if let Target::Service { port } = target {
                findings.extend(port_absent(&subject, service, *port, settings));
            }
            findings.extend(ipv4_only(&subject, service, snapshot, settings));
            match snapshot.endpoint_slices.known(&format!("endpoints of {subject}")) {
                Err(finding) => findings.push(finding),
                Ok(slices) => {
                    ready = slices.map_or(0, |slices| count_ready(slices));
                    if ready == 0 {
                        findings.push(without_endpoints(&subject, slices, settings));
                    }
                }
            }
        }
    }
    let summary = match snapshot.service.found() {
        Some(_) => format!("{subject} has {}", counted(ready, "ready endpoint", "ready endpoints")),
        None => "the webhook is called by a URL, not through a Service".to_owned(),
    };
    Check { examination: Examination::Service, summary, findings }
}

fn absent(subject: &str, settings: &Settings) -> Diagnosis {
    let fix = format!("{} get services", kubectl(settings));
    Diagnosis::failure(Id::ServiceAbsent, subject, "it does not exist, so every call fails", fix)
}

fn port_absent(subject: &str, service: &Value, port: u16, settings: &Settings) -> Option<Diagnosis> {
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    if ports.iter().any(|known| known["port"] == port) {
        return None;
    }
    let known: Vec<String> = ports.iter().map(|known| known["port"].to_string()).collect();
    let text = format!(
        "the webhook configurations call port {port}, but it has only {}; {REGISTRATION_PATH} sets the port",
        known.join(", ")
    );
    let patch = format!(
        r#"[{{"op":"add","path":"/spec/ports/-","value":{{"name":"webhook-{port}","port":{port},"targetPort":9443}}}}]"#
    );
    let fix = format!("{} patch service {} --type=json -p '{patch}'", kubectl(settings), settings.service);
    Some(Diagnosis::failure(Id::ServicePortAbsent, subject, text, fix))
}

/// Finds a program that IPv6 clients of the Service cannot reach.
fn ipv4_only(subject: &str, service: &Value, snapshot: &Snapshot, settings: &Settings) -> Option<Diagnosis> {
    let families: Vec<&str> =
        service["spec"]["ipFamilies"].as_array()?.iter().filter_map(Value::as_str).collect();
    let deployment = snapshot.deployment.found().filter(|_| families.contains(&"IPv6"))?;
    let address = LISTEN.into_iter().find_map(|(flag, variable)| {
        setting(deployment, flag, variable).filter(|address| address.parse::<SocketAddrV4>().is_ok())
    })?;
    let text = format!(
        "it has the addresses {}, but the Deployment {NAME} listens on {address}",
        families.join(" and ")
    );
    let fix = format!("{} edit deployment {NAME}", kubectl(settings));
    Some(if families.contains(&"IPv4") {
        Diagnosis::warning(Id::WrongAddressFamily, subject, text, fix)
    } else {
        Diagnosis::failure(Id::WrongAddressFamily, subject, text, fix)
    })
}

/// An endpoint without the condition is ready, as the API documents.
fn count_ready(slices: &[Value]) -> usize {
    endpoints(slices).filter(|endpoint| endpoint["conditions"]["ready"] != false).count()
}

fn endpoints(slices: &[Value]) -> impl Iterator<Item = &Value> {
    slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
}

fn without_endpoints(subject: &str, slices: Option<&Vec<Value>>, settings: &Settings) -> Diagnosis {
    let text = match slices.map_or(0, |slices| endpoints(slices).count()) {
        0 => "it has no endpoints: its selector matches no pod, or there are no pods".to_owned(),
        number => format!("none of its {} is ready", counted(number, "endpoint", "endpoints")),
    };
    let kubectl = kubectl(settings);
    let fix = format!("{kubectl} describe deployment {NAME}; {kubectl} logs deployment/{NAME} --tail=50");
    Diagnosis::failure(Id::ServiceWithoutEndpoints, subject, text, fix)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::diagnosis::Level;
    use super::super::questions::Answer;
    use super::super::samples::{self, settings};
    use super::*;

    const SERVICE: Target = Target::Service { port: 443 };

    fn examined(target: &Target, edit: impl FnOnce(&mut Snapshot)) -> Check {
        let mut snapshot = samples::snapshot();
        edit(&mut snapshot);
        judge(&snapshot, target, &settings())
    }

    #[test]
    fn a_service_with_a_ready_endpoint_is_fine() {
        let check = examined(&SERVICE, |_| {});
        assert_eq!((check.level(), check.findings.len()), (Level::Ok, 0));
        assert_eq!(check.summary, "service crm-admission-system/crm-admission has 1 ready endpoint");
    }

    #[test]
    fn a_missing_service_is_a_failure_unless_a_url_is_called() {
        let check = examined(&SERVICE, |snapshot| snapshot.service = Answer::Absent);
        assert_eq!(check.findings[0].id, Id::ServiceAbsent);
        let url = Target::Url("127.0.0.1:9443".parse().unwrap());
        assert_eq!(examined(&url, |snapshot| snapshot.service = Answer::Absent).findings, []);
    }

    #[test]
    fn a_service_without_the_called_port_is_a_failure() {
        let check = examined(&Target::Service { port: 8443 }, |_| {});
        assert_eq!(check.findings[0].id, Id::ServicePortAbsent);
        assert!(check.findings[0].text.contains("port 8443, but it has only 443"));
    }

    #[test]
    fn a_program_that_listens_on_ipv4_only_is_found_if_the_service_has_an_ipv6_address() {
        let level = |families: &[&str], args: &[&str]| {
            let mut check = examined(&SERVICE, |snapshot| {
                samples::found(&mut snapshot.service)["spec"]["ipFamilies"] = json!(families);
                snapshot.deployment = samples::deployment(args);
            });
            check.findings.pop().map(|finding| (finding.id, finding.level))
        };
        let found = |level| Some((Id::WrongAddressFamily, level));
        assert_eq!(level(&["IPv6"], &["--listen=0.0.0.0:9443"]), found(Level::Failure));
        assert_eq!(level(&["IPv6"], &["--admin-listen", "0.0.0.0:8080"]), found(Level::Failure));
        assert_eq!(level(&["IPv4", "IPv6"], &["--listen", "10.0.0.1:9443"]), found(Level::Warning));
        assert_eq!(level(&["IPv6"], &["--listen=[::]:9443"]), None);
        assert_eq!(level(&["IPv6"], &["--listen"]), None);
        assert_eq!(level(&["IPv6"], &[]), None);
        assert_eq!(level(&["IPv4"], &["--listen=0.0.0.0:9443"]), None);
    }

    #[test]
    fn a_service_without_ready_endpoints_is_a_failure() {
        for (endpoints, text) in [
            (json!([]), "it has no endpoints"),
            (json!([{"conditions": {"ready": false}}]), "none of its 1 endpoint is ready"),
        ] {
            let slices = vec![json!({"endpoints": endpoints})];
            let check = examined(&SERVICE, |snapshot| snapshot.endpoint_slices = Answer::Found(slices));
            assert_eq!(check.findings[0].id, Id::ServiceWithoutEndpoints);
            assert!(check.findings[0].text.contains(text), "{check:?}");
        }
        let silent = vec![json!({"endpoints": [{"conditions": {}}]})];
        let check = examined(&SERVICE, |snapshot| snapshot.endpoint_slices = Answer::Found(silent));
        assert_eq!(check.findings, []);
    }
}
